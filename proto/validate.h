/*
 * What the schema cannot say: bodies that must be there, enums, names, texts, counts and ranges.
 * Each answers NULL or a static sentence. The message is one that libprotobuf-c unpacked, so its
 * pointers are sound.
 */
#ifndef SEQSYNC_PROTO_VALIDATE_H
#define SEQSYNC_PROTO_VALIDATE_H

#include "proto/admin.pb-c.h"
#include "proto/peer.pb-c.h"
#include "proto/worker.pb-c.h"

#include <stdbool.h>

const char *validate_worker_message(const Seqsync__Worker__WorkerMessage *message);
const char *validate_daemon_message(const Seqsync__Worker__DaemonMessage *message);
const char *validate_peer_message(const Seqsync__Peer__PeerMessage *message);
const char *validate_admin_request(const Seqsync__Admin__Request *message);
const char *validate_admin_answer(const Seqsync__Admin__Answer *message);

#define VALIDATE_VERSION_MAX 64 /* bytes of a program's version, with its NUL */

/* Shorter than @bytes_max, valid UTF-8 (RFC 3629) without control characters. */
bool validate_text(const char *text, size_t bytes_max);

/* Whether these are of enum seqsync_dtype and enum seqsync_op. */
bool validate_operation(uint32_t dtype, uint32_t op);

#endif
