#include "daemon/io/bulk_table.h"

#include "daemon/base/err.h"

#include <stdlib.h>
#include <string.h>

int bulk_table_init(struct bulk_table *table)
{
    memset(table->buckets, 0, sizeof(table->buckets));
    pthread_mutex_init(&table->lock, NULL);
    pthread_cond_init(&table->idle, NULL);
    return 0;
}

void bulk_table_deinit(struct bulk_table *table)
{
    for (uint32_t b = 0; b < BULK_TABLE_BUCKETS; b++) {
        for (struct bulk_entry *entry = table->buckets[b], *next; entry != NULL; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    pthread_cond_destroy(&table->idle);
    pthread_mutex_destroy(&table->lock);
}

/* Parameters may come from any root: it is not known before they come. */
static struct bulk_key key_normal(const struct bulk_key *key)
{
    struct bulk_key normal = *key;

    if (key->kind == BULK_PARAMETER) {
        normal.part = 0;
        normal.node = 0;
    }
    return normal;
}

static bool key_equal(const struct bulk_key *a, const struct bulk_key *b)
{
    return a->job == b->job && a->id == b->id && a->part == b->part && a->kind == b->kind &&
           a->node == b->node;
}

static struct bulk_entry **table_slot(struct bulk_table *table, const struct bulk_key *key)
{
    uint64_t hash = key->job * UINT64_C(0x9E3779B97F4A7C15);

    hash ^= ((uint64_t)key->id << 32) ^ ((uint64_t)key->part << 16) ^ ((uint64_t)key->kind << 8) ^
            key->node;
    hash *= UINT64_C(0xD6E8FEB86659FD93);
    hash ^= hash >> 32;
    struct bulk_entry **slot = &table->buckets[hash % BULK_TABLE_BUCKETS];
    while (*slot != NULL && !key_equal(&(*slot)->key, key)) {
        slot = &(*slot)->next;
    }
    return slot;
}

static void entry_wait_idle(struct bulk_table *table, const struct bulk_entry *entry)
{
    while (entry->busy) {
        pthread_cond_wait(&table->idle, &table->lock);
    }
}

int bulk_table_expect(struct bulk_table *table, const struct bulk_key *key, uint64_t generation,
                      uint64_t step, const struct bulk_piece *pieces, uint32_t piece_count)
{
    const struct bulk_key normal = key_normal(key);
    struct bulk_entry *made = calloc(1, sizeof(*made));

    if (made == NULL) {
        return err_origin(-ENOMEM);
    }
    pthread_mutex_lock(&table->lock);
    struct bulk_entry **slot = table_slot(table, &normal);
    struct bulk_entry *entry = *slot;
    if (entry == NULL) {
        entry = made;
        made = NULL;
        *slot = entry;
    } else {
        entry_wait_idle(table, entry);
    }
    struct bulk_entry *next = entry->next;
    *entry = (struct bulk_entry){.next = next,
                                 .key = normal,
                                 .generation = generation,
                                 .step = step,
                                 .piece_count = piece_count};
    for (uint32_t i = 0; i < piece_count; i++) {
        entry->pieces[i] = pieces[i];
        entry->total += pieces[i].bytes;
    }
    pthread_mutex_unlock(&table->lock);
    free(made);
    return 0;
}

void bulk_table_forget(struct bulk_table *table, const struct bulk_key *key)
{
    const struct bulk_key normal = key_normal(key);

    pthread_mutex_lock(&table->lock);
    struct bulk_entry **slot = table_slot(table, &normal);
    struct bulk_entry *entry = *slot;
    if (entry != NULL) {
        entry_wait_idle(table, entry);
        /* The slot may have moved while the lock was released. */
        slot = table_slot(table, &normal);
        *slot = entry->next;
    }
    pthread_mutex_unlock(&table->lock);
    free(entry);
}

static void table_forget(struct bulk_table *table, uint64_t job, bool steps_only)
{
    struct bulk_entry *gone = NULL;

    pthread_mutex_lock(&table->lock);
    for (uint32_t b = 0; b < BULK_TABLE_BUCKETS; b++) {
        struct bulk_entry **slot = &table->buckets[b];
        while (*slot != NULL) {
            struct bulk_entry *entry = *slot;
            const bool of_step = entry->key.kind == BULK_KV || entry->key.kind == BULK_RETURN;
            if (entry->key.job != job || (steps_only && !of_step)) {
                slot = &entry->next;
                continue;
            }
            if (entry->busy) {
                entry_wait_idle(table, entry);
                slot = &table->buckets[b];
                continue;
            }
            *slot = entry->next;
            entry->next = gone;
            gone = entry;
        }
    }
    pthread_mutex_unlock(&table->lock);
    for (struct bulk_entry *next; gone != NULL; gone = next) {
        next = gone->next;
        free(gone);
    }
}

void bulk_table_forget_job(struct bulk_table *table, uint64_t job)
{
    table_forget(table, job, /* steps_only= */ false);
}

void bulk_table_forget_steps(struct bulk_table *table, uint64_t job)
{
    table_forget(table, job, /* steps_only= */ true);
}

/* Copies @length bytes to @offset of the transfer; bounds were checked. */
static void entry_copy(const struct bulk_entry *entry, uint64_t offset, const uint8_t *from,
                       size_t length)
{
    for (uint32_t i = 0; i < entry->piece_count && length > 0; i++) {
        const struct bulk_piece *piece = &entry->pieces[i];
        if (offset >= piece->bytes) {
            offset -= piece->bytes;
            continue;
        }
        const size_t n = length < piece->bytes - offset ? length : piece->bytes - (size_t)offset;
        memcpy((uint8_t *)piece->data + offset, from, n);
        from += n;
        length -= n;
        offset = 0;
    }
}

static int entry_check(const struct bulk_entry *entry, const struct bulk_header *header,
                       const char **ret_text)
{
    if (entry == NULL || entry->generation != header->generation || entry->step != header->step) {
        return BULK_TABLE_UNEXPECTED;
    }
    if (header->total != entry->total) {
        *ret_text = "a transfer has another length than planned";
        return BULK_TABLE_BROKEN;
    }
    if (entry->complete || header->offset != entry->received) {
        *ret_text = "frames were lost or repeated on the way";
        return BULK_TABLE_BROKEN;
    }
    return 0;
}

static struct bulk_key header_key(const struct bulk_header *header)
{
    return key_normal(&(struct bulk_key){.job = header->job,
                                         .id = header->id,
                                         .part = header->part,
                                         .kind = header->kind,
                                         .node = header->node});
}

int bulk_table_probe(struct bulk_table *table, const struct bulk_header *header,
                     const char **ret_text)
{
    const struct bulk_key key = header_key(header);

    pthread_mutex_lock(&table->lock);
    const int r = entry_check(*table_slot(table, &key), header, ret_text);
    pthread_mutex_unlock(&table->lock);
    return r;
}

int bulk_table_place(struct bulk_table *table, const struct bulk_header *header,
                     const void *payload, bool *ret_complete, const char **ret_text)
{
    const struct bulk_key key = header_key(header);

    pthread_mutex_lock(&table->lock);
    struct bulk_entry *entry = *table_slot(table, &key);
    const int r = entry_check(entry, header, ret_text);
    if (r != 0) {
        pthread_mutex_unlock(&table->lock);
        return r;
    }
    entry->busy = true;
    pthread_mutex_unlock(&table->lock);

    entry_copy(entry, header->offset, payload, header->length);

    pthread_mutex_lock(&table->lock);
    entry->received += header->length;
    entry->complete = entry->received == entry->total;
    entry->busy = false;
    *ret_complete = entry->complete;
    pthread_cond_broadcast(&table->idle);
    pthread_mutex_unlock(&table->lock);
    return 0;
}
