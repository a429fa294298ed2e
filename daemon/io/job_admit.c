/* What a job's schema sizes: control page, gradients, results, and the private partials of buckets.
 */
#include "daemon/base/err.h"
#include "daemon/base/num.h"
#include "daemon/io/job.h"

#include <assert.h>
#include <seqsync/status.h>
#include <stdlib.h>
#include <string.h>

struct admit_job {
    struct lane_job lane;
    struct job *job;
    size_t bucket_bytes; /* of a gradient and of the result segment */
    uint64_t charged;
    int r;
    struct segment page;
    struct segment result;
    struct segment gradients[SEQSYNC_LOCAL_RANKS_MAX];
    float *bucket_partials;
    float *slice_partials;
};

/* Private memory is touched here, in the lane: the step must not fault pages in. */
static float *private_floats(size_t bytes)
{
    void *data = NULL;

    if (posix_memalign(&data, ARENA_PAGE, bytes == 0 ? ARENA_PAGE : bytes) != 0) {
        return NULL;
    }
    memset(data, 0, bytes);
    return data;
}

static void admit_run(struct lane_job *lane)
{
    struct admit_job *admit = (struct admit_job *)(void *)lane;
    const struct job *job = admit->job;
    int r = segment_init(&admit->page, "seqsync-page", job->page_layout.bytes);

    if (r == 0) {
        r = segment_init(&admit->result, "seqsync-result", admit->bucket_bytes);
    }
    for (uint32_t i = 0; i < job->local_count && r == 0; i++) {
        r = segment_init(&admit->gradients[i], "seqsync-gradient", admit->bucket_bytes);
    }
    if (r == 0 && job->member_count > 1) {
        admit->bucket_partials = private_floats(job->bucket_partial_bytes);
        admit->slice_partials = private_floats(job->slice_partial_bytes);
        if (admit->bucket_partials == NULL || admit->slice_partials == NULL) {
            r = err_origin(-ENOMEM);
        }
    }
    admit->r = r;
}

static void admit_discard(struct admit_job *admit)
{
    segment_deinit(&admit->page);
    segment_deinit(&admit->result);
    for (uint32_t i = 0; i < admit->job->local_count; i++) {
        segment_deinit(&admit->gradients[i]);
    }
    free(admit->bucket_partials);
    free(admit->slice_partials);
    job_discharge(admit->job, admit->charged);
}

static int admit_take(struct admit_job *admit)
{
    struct job *job = admit->job;

    job->page = admit->page;
    job->result = admit->result;
    memcpy(job->gradients, admit->gradients, sizeof(job->gradients));
    job->bucket_partials = admit->bucket_partials;
    job->slice_partials = admit->slice_partials;
    job->admitted = true;
    for (uint32_t bucket = 0; bucket < job->schema.bucket_count && job->member_count > 1;
         bucket++) {
        const int r = job_expect_parameters(job, bucket, 1);
        if (r < 0) {
            return err_trace(r);
        }
    }
    return 0;
}

static void admit_done(struct lane_job *lane)
{
    struct admit_job *admit = (struct admit_job *)(void *)lane;
    struct job *job = admit->job;
    int r = admit->r;

    if (r < 0 || job->ending) {
        admit_discard(admit);
    } else {
        r = admit_take(admit);
    }
    if (!job->ending) {
        job->host->ops.on_admitted(job->host->ctx, job, r < 0 ? SEQSYNC_ERR_NO_MEMORY : 0,
                                   r < 0 ? "cannot allocate the job's shared memory" : NULL);
    }
    free(admit);
    job_unref(job);
}

/* Sizes everything; false on overflow. */
static bool admit_sizes(struct job *job, size_t *ret_bucket_bytes, uint64_t *ret_charge)
{
    size_t bucket_bytes, gradients;

    if (!arena_page_layout(&job->schema, &job->page_layout) ||
        !arena_bucket_offset(&job->schema, job->schema.bucket_count, &bucket_bytes)) {
        return false;
    }
    job->slice_elements = 0;
    for (uint32_t bucket = 0; bucket < job->schema.bucket_count; bucket++) {
        size_t first, count;
        job_slice(job, bucket, job->member, &first, &count);
        job->slice_offsets[bucket] = job->slice_elements;
        job->slice_elements += (count + 15) / 16 * 16;
    }
    if (job->member_count > 1) {
        job->bucket_partial_bytes = bucket_bytes;
        job->slice_partial_bytes = job->slice_elements * sizeof(float) * (job->member_count - 1);
    }
    if (!num_mul_size(&gradients, bucket_bytes, job->local_count + 1) ||
        !num_add_size(&gradients, gradients, job->page_layout.bytes) ||
        !num_add_size(&gradients, gradients, job->bucket_partial_bytes) ||
        !num_add_size(&gradients, gradients, job->slice_partial_bytes)) {
        return false;
    }
    *ret_bucket_bytes = bucket_bytes;
    *ret_charge = gradients;
    return true;
}

void job_admit(struct job *job)
{
    const char *error = "the registered buckets are larger than memory can be";
    struct admit_job *admit = calloc(1, sizeof(*admit));
    int code = SEQSYNC_ERR_NO_CAPACITY;
    uint64_t charge = 0;

    assert(!job->ending && job->schema.exchanges != NULL);
    if (admit == NULL) {
        code = SEQSYNC_ERR_NO_MEMORY;
        error = "out of memory";
    } else if (admit_sizes(job, &admit->bucket_bytes, &charge) &&
               job_charge(job, charge, &error) == 0) {
        admit->lane = (struct lane_job){.run = admit_run, .done = admit_done};
        admit->job = job;
        admit->charged = charge;
        admit->page = (struct segment)SEGMENT_NULL;
        admit->result = (struct segment)SEGMENT_NULL;
        for (uint32_t i = 0; i < SEQSYNC_LOCAL_RANKS_MAX; i++) {
            admit->gradients[i] = (struct segment)SEGMENT_NULL;
        }
        job_ref(job);
        lanes_submit(job->host->lanes, &admit->lane);
        return;
    }
    free(admit);
    job->host->ops.on_admitted(job->host->ctx, job, code, error);
}
