/*
 * A look at protobuf bytes before libprotobuf-c sees them: no recursion, no allocation. It bounds
 * what unpacking can cost: nesting depth, number of fields, and that every length lies within its
 * message.
 */
#ifndef SEQSYNC_PROTO_SCAN_H
#define SEQSYNC_PROTO_SCAN_H

#include <protobuf-c/protobuf-c.h>

#define SCAN_DEPTH_MAX 4 /* messages inside each other; the deepest legal one has 4 */

/*
 * NULL, or a static sentence: truncated, a field that @descriptor does not know, the wrong wire
 * type for it, more than
 * @fields_max fields (elements of packed arrays count), deeper than SCAN_DEPTH_MAX.
 */
const char *scan_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                         size_t length, uint32_t fields_max);

#endif
