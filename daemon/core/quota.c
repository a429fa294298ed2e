#include "daemon/core/quota.h"

#include <assert.h>
#include <string.h>

void quota_init(struct quota *quota, uint64_t limit_bytes, uint64_t user_limit_bytes)
{
    memset(quota, 0, sizeof(*quota));
    quota->limit_bytes = limit_bytes;
    quota->user_limit_bytes = user_limit_bytes;
}

/* The user's entry, else a free one, else -1. */
static int quota_find(const struct quota *quota, uint32_t uid)
{
    int unused = -1;

    for (int i = 0; i < QUOTA_USERS_MAX; i++) {
        if (quota->users[i].used_bytes == 0) {
            unused = unused < 0 ? i : unused;
        } else if (quota->users[i].uid == uid) {
            return i;
        }
    }
    return unused;
}

int quota_charge(struct quota *quota, uint32_t uid, uint64_t bytes)
{
    const int i = quota_find(quota, uid);

    if (bytes == 0) {
        return 0;
    }
    if (i < 0) {
        return QUOTA_MANY_USERS;
    }
    if (bytes > quota->limit_bytes - quota->used_bytes) {
        return QUOTA_FULL;
    }
    if (bytes > quota->user_limit_bytes ||
        quota->users[i].used_bytes > quota->user_limit_bytes - bytes) {
        return QUOTA_USER_FULL;
    }
    quota->users[i].uid = uid;
    quota->users[i].used_bytes += bytes;
    quota->used_bytes += bytes;
    return 0;
}

void quota_release(struct quota *quota, uint32_t uid, uint64_t bytes)
{
    if (bytes == 0) {
        return;
    }
    const int i = quota_find(quota, uid);
    assert(i >= 0);
    assert(quota->users[i].uid == uid);
    assert(quota->users[i].used_bytes >= bytes);
    assert(quota->used_bytes >= bytes);
    quota->users[i].used_bytes -= bytes;
    quota->used_bytes -= bytes;
}

void quota_deinit(struct quota *quota)
{
    assert(quota->used_bytes == 0);
}
