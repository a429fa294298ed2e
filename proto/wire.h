/* Numbers that both ends of every plane agree on. A change of meaning raises WIRE_PROTOCOL. */
#ifndef SEQSYNC_PROTO_WIRE_H
#define SEQSYNC_PROTO_WIRE_H

#include <seqsync/types.h>

#define WIRE_PROTOCOL 1

#define WIRE_WORKER_FRAME_MAX (64 * 1024) /* SEQPACKET datagram */
#define WIRE_PEER_FRAME_MAX (64 * 1024)   /* peer control message */
#define WIRE_ADMIN_REQUEST_MAX (4 * 1024)
#define WIRE_ADMIN_ANSWER_MAX (4 * 1024 * 1024)
#define WIRE_FDS_MAX (SEQSYNC_LOCAL_RANKS_MAX + 2) /* beside one message */
#define WIRE_TEXT_MAX 512                          /* bytes of an error text or hint */

#define WIRE_CURVE_SLACK_BYTES 64          /* CURVE makes a frame 33 bytes longer on the wire */
#define WIRE_BULK_CHUNK_BYTES (256 * 1024) /* payload of one bulk frame at most */

#endif
