#include "daemon/core/liveness.h"

#include "daemon/core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void liveness_init(struct liveness *liveness, uint32_t node, uint32_t node_count,
                   uint64_t silence_ns, uint64_t interval_ns)
{
    memset(liveness, 0, sizeof(*liveness));
    liveness->node = node;
    liveness->node_count = node_count;
    liveness->silence_ns = silence_ns;
    liveness->interval_ns = interval_ns;
    for (uint32_t i = 0; i < node_count; i++) {
        snprintf(liveness->peers[i].reason, sizeof(liveness->peers[i].reason),
                 "it has not connected yet");
    }
}

void liveness_up(struct liveness *liveness, uint32_t node, uint64_t now_ns)
{
    struct liveness_peer *peer = &liveness->peers[node];

    assert(node < liveness->node_count && node != liveness->node);
    peer->up = true;
    peer->known = true;
    peer->silent = false;
    peer->heard_ns = now_ns;
    peer->ping_ns = now_ns + liveness->interval_ns;
    peer->reason[0] = '\0';
}

bool liveness_heard(struct liveness *liveness, uint32_t node, uint64_t now_ns)
{
    struct liveness_peer *peer = &liveness->peers[node];

    assert(node < liveness->node_count && node != liveness->node);
    if (peer->silent) {
        liveness_up(liveness, node, now_ns);
        return true;
    }
    if (peer->up) {
        peer->heard_ns = now_ns;
    }
    return false;
}

bool liveness_lost(struct liveness *liveness, uint32_t node, const char *how)
{
    struct liveness_peer *peer = &liveness->peers[node];
    const bool was_up = peer->up;
    struct text text;

    assert(node < liveness->node_count && node != liveness->node);
    peer->up = false;
    peer->silent = false;
    text_init(&text, peer->reason, sizeof(peer->reason));
    text_add(&text, "%s", how);
    return was_up;
}

uint32_t liveness_expire(struct liveness *liveness, uint64_t now_ns)
{
    for (uint32_t node = 0; node < liveness->node_count; node++) {
        struct liveness_peer *peer = &liveness->peers[node];
        if (!peer->up || now_ns < peer->heard_ns ||
            now_ns - peer->heard_ns < liveness->silence_ns) {
            continue;
        }
        peer->up = false;
        peer->silent = true;
        snprintf(peer->reason, sizeof(peer->reason), "it has been silent for %.1f s",
                 (double)(now_ns - peer->heard_ns) * 1e-9);
        return node;
    }
    return LIVENESS_NONE;
}

uint32_t liveness_ping(struct liveness *liveness, uint64_t now_ns)
{
    for (uint32_t node = 0; node < liveness->node_count; node++) {
        struct liveness_peer *peer = &liveness->peers[node];
        if (peer->up && now_ns >= peer->ping_ns) {
            peer->ping_ns = now_ns + liveness->interval_ns;
            return node;
        }
    }
    return LIVENESS_NONE;
}

bool liveness_is_up(const struct liveness *liveness, uint32_t node)
{
    return node == liveness->node || liveness->peers[node].up;
}

uint64_t liveness_deadline_ns(const struct liveness *liveness)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t node = 0; node < liveness->node_count; node++) {
        const struct liveness_peer *peer = &liveness->peers[node];
        if (peer->up) {
            const uint64_t silent = peer->heard_ns + liveness->silence_ns;
            const uint64_t due = silent < peer->ping_ns ? silent : peer->ping_ns;
            deadline = due < deadline ? due : deadline;
        }
    }
    return deadline;
}
