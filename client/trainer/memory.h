/* What the kernel says of this process's memory, in bytes; 0 if it does not say. */
#ifndef SEQSYNC_CLIENT_TRAINER_MEMORY_H
#define SEQSYNC_CLIENT_TRAINER_MEMORY_H

#include <stdint.h>

struct memory {
    uint64_t private_bytes;  /* resident now and nobody else's: heap and stacks */
    uint64_t resident_bytes; /* most that was ever resident, shared pages included */
};

struct memory memory_read(void);

#endif
