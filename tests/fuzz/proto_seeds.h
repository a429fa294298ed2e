/* Files that fuzz targets start from, one folder for each target. */
#ifndef SEQSYNC_TEST_PROTO_SEEDS_H
#define SEQSYNC_TEST_PROTO_SEEDS_H

#include <stddef.h>

/* Writes FOLDER/@target/@name, FOLDER being the program's argument; ends the program if it cannot.
 */
void seed_write(const char *target, const char *name, const void *bytes, size_t length);

/* Seeds of the targets of frames. */
void seed_frames(void);

#endif
