/* Somebody else's program, built against an installed seqsync. */
#include <seqsync/attention.h>
#include <seqsync/plan.h>
#include <seqsync/session.h>
#include <seqsync/version.h>
#include <stdio.h>

int main(void)
{
    struct seqsync_session_options options;
    struct seqsync_session *session;

    seqsync_session_options_init(&options);
    options.socket_path = "/nonexistent/seqsync.sock";
    const int status = seqsync_session_open(&options, &session);
    printf("%s %s %016llx %s\n%s\n", seqsync_version(), seqsync_status_name(status),
           (unsigned long long)seqsync_random_u64(0, 0, 0), seqsync_attention_kernels(),
           seqsync_session_error(session));
    seqsync_session_close(session);
    return status == SEQSYNC_ERR_UNREACHABLE ? 0 : 1;
}
