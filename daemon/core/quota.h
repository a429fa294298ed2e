/*
 * What workers may pin: bytes of shared memory, by user and in all. Everything lent to a worker is
 * charged here before it is made, and given back when the daemon has freed it. Holds numbers only.
 */
#ifndef SEQSYNC_CORE_QUOTA_H
#define SEQSYNC_CORE_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTA_USERS_MAX 64 /* users with something charged at one time */

enum quota_outcome {
    QUOTA_FULL = 1,      /* the daemon's limit would be exceeded */
    QUOTA_USER_FULL = 2, /* the user's limit would be */
    QUOTA_MANY_USERS = 3,
};

struct quota {
    uint64_t limit_bytes;
    uint64_t user_limit_bytes;
    uint64_t used_bytes;
    struct {
        uint32_t uid;
        uint64_t used_bytes; /* 0 = the entry is free */
    } users[QUOTA_USERS_MAX];
};

void quota_init(struct quota *quota, uint64_t limit_bytes, uint64_t user_limit_bytes);

/* 0, or an outcome that changes nothing. */
int quota_charge(struct quota *quota, uint32_t uid, uint64_t bytes);

/* Gives back what was charged; asserts that it was. */
void quota_release(struct quota *quota, uint32_t uid, uint64_t bytes);

/* Asserts that nothing is charged. */
void quota_deinit(struct quota *quota);

#endif
