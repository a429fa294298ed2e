/*
 * A look at protobuf bytes before libprotobuf-c sees them: no recursion, no allocation. It bounds
 * what unpacking can cost (nesting depth, number of fields, every length within its message) and
 * refuses what one protocol version never sends: unknown fields, a field or oneof given twice
 * (libprotobuf-c would merge the two), and strings with a NUL inside (the rest would be lost).
 */
#ifndef SEQSYNC_PROTO_SCAN_H
#define SEQSYNC_PROTO_SCAN_H

#include <protobuf-c/protobuf-c.h>

#define SCAN_DEPTH_MAX 4 /* messages inside each other; the deepest legal one has 4 */

/*
 * NULL, or a static sentence saying what is wrong. At most @fields_max fields are let through, in
 * all messages together; elements of packed arrays count. Every message known to @descriptor has at
 * most 64 fields.
 */
const char *scan_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                         size_t length, uint32_t fields_max);

#endif
