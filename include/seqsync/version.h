/* Version of the library that is linked; compare with the macros to find a header/library mix-up.
 */
#ifndef SEQSYNC_VERSION_H
#define SEQSYNC_VERSION_H

#define SEQSYNC_VERSION_MAJOR 0
#define SEQSYNC_VERSION_MINOR 1
#define SEQSYNC_VERSION_PATCH 0
#define SEQSYNC_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0", static. Any thread. */
const char *seqsync_version(void);

#ifdef __cplusplus
}
#endif
#endif
