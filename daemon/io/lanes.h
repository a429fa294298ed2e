/*
 * Lanes: the daemon's own threads for work that must not run in the loop: sums, plans, making
 * segments. A job is run once by some lane, in the order of submission as far as starting goes; its
 * completion is reported in the loop's thread.
 *
 * Bound: jobs are embedded in what they work for, and each of those has at most one job in flight.
 */
#ifndef SEQSYNC_IO_LANES_H
#define SEQSYNC_IO_LANES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct lanes;

struct lane_job {
    void (*run)(struct lane_job *job); /* on a lane: touches only what the job owns or pins */
    void (*done)(struct lane_job *
                     job); /* in the loop's thread, never inside lanes_submit(); may free the job */
    struct lane_job *next; /* lanes' own */
};

/* Starts @count threads. -ENOMEM, -EAGAIN. The loop must be running when jobs complete. */
int lanes_new(uv_loop_t *loop, uint32_t count, struct lanes **ret);

/* Loop thread. The job belongs to the lanes until done() is called. */
void lanes_submit(struct lanes *lanes, struct lane_job *job);

/* Jobs submitted and not yet done. Loop thread. */
uint32_t lanes_pending(const struct lanes *lanes);

/* Jobs completed so far: the watchdog's sign of progress. Loop thread. */
uint64_t lanes_completed(const struct lanes *lanes);

/*
 * Runs what is queued to its end, joins the threads, reports every completion, then closes the
 * handle; freed in its close callback: run the loop once more. Accepts NULL.
 */
void lanes_close(struct lanes *lanes);

#endif
