/*
 * Any bytes as a config file: no crash, and what is read from them is in its limits and survives
 * being written and read again.
 */
#include "fuzz.h"

#include "daemon/host/config.h"

#include "daemon/host/config_key.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const environment[] = {"HOME=/home/user", NULL};
static const struct config_host host = {
    .environment = environment,
    .host_name = "node-a",
    .memory_bytes = 1ull << 34,
    .cpu_count = 4,
    .uid = 1000,
};

static struct config first;
static struct config second;

/* Every text ends in its field, and every number is in the limits of its key. */
static void check(const struct config *config)
{
    assert(config->member_count <= SEQSYNC_NODES_MAX);
    assert(config->worker_user_count <= CONFIG_USERS_MAX);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *place = (const char *)config + key->offset;
        uint64_t value = 0;
        switch (key->kind) {
        case CONFIG_KIND_DURATION:
        case CONFIG_KIND_COUNT:
            memcpy(&value, place, sizeof(value));
            assert(value >= key->min);
            assert(value <= key->max);
            break;
        case CONFIG_KIND_PATH:
        case CONFIG_KIND_ENDPOINT:
            assert(memchr(place, '\0', CONFIG_TEXT_MAX) != NULL);
            break;
        case CONFIG_KIND_NAME:
            assert(memchr(place, '\0', SEQSYNC_NAME_MAX + 1) != NULL);
            assert(place[0] != '\0');
            break;
        default:
            break;
        }
    }
}

/* Each value, written as text and read again, is the same text. */
static void check_values(const struct config *config)
{
    static char before[CONFIG_VALUE_MAX];
    static char after[CONFIG_VALUE_MAX];
    char say[CONFIG_SAY_MAX];
    config_init(&second, &host);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        uint32_t entries = config_key_entries(config, key);
        config_key_clear(&second, key);
        for (uint32_t entry = 0; entry < entries; entry++) {
            config_key_format(config, key, entry, before);
            bool taken = config_key_set(&second, key, before, say);
            assert(taken);
            config_key_format(&second, key, entry, after);
            assert(strcmp(before, after) == 0);
        }
    }
}

/* The caller frees it. */
static char *dump(const struct config *config, size_t *ret_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_bytes);
    assert(out != NULL);
    config_dump(config, out);
    int r = fclose(out);
    assert(r == 0);
    return text;
}

static void read_again(struct config *config, const char *text, size_t bytes)
{
    struct config_problems problems = {.count = 0};
    config_init(config, &host);
    config_parse(config, text, bytes, "in.conf", CONFIG_FILE, &problems);
    config_finish(config, &host, &problems);
    assert(problems.count == 0);
}

/*
 * A config without a problem is dumped as a file without one, which holds the same. From then on
 * the origins, too, which are lines of the dump, stay the same.
 */
static void check_dump(void)
{
    size_t one_bytes = 0;
    size_t two_bytes = 0;
    size_t three_bytes = 0;
    char *one = dump(&first, &one_bytes);
    read_again(&second, one, one_bytes);
    assert(second.member_count == first.member_count);
    assert(second.node == first.node);
    assert(memcmp(second.members, first.members, first.member_count * sizeof(first.members[0])) ==
           0);
    assert(second.arena_limit_bytes == first.arena_limit_bytes);
    assert(second.arena_user_limit_bytes == first.arena_user_limit_bytes);
    char *two = dump(&second, &two_bytes);
    read_again(&first, two, two_bytes);
    char *three = dump(&first, &three_bytes);
    assert(two_bytes == three_bytes);
    assert(memcmp(two, three, two_bytes) == 0);
    free(one);
    free(two);
    free(three);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct config_problems problems = {.count = 0};
    config_init(&first, &host);
    config_parse(&first, (const char *)bytes, length, "in.conf", CONFIG_FILE, &problems);
    assert(memchr(problems.text, '\0', sizeof(problems.text)) != NULL);
    check(&first);
    check_values(&first);
    config_finish(&first, &host, &problems);
    assert(memchr(problems.text, '\0', sizeof(problems.text)) != NULL);
    check(&first);
    if (problems.count == 0) {
        check_dump();
    }
    return 0;
}
