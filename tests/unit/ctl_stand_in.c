/*
 * Stands in for seqsyncd in the tests of `seqctl run`: it gets ready and waits, or misbehaves in a
 * way that is hard to get from a healthy daemon. STAND_IN in its environment says how:
 *
 *     (nothing)  READY, and ends well on SIGTERM
 *     fail       a line for the log, and exit status 78
 *     silent     never ready
 *     stubborn   READY, but deaf to SIGTERM
 *
 * Its pid goes into the file CONFIG.pid, and its command line into its log.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int tell_ready(void)
{
    static const char text[] = "STATUS=waiting\nREADY=1\n";
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!path || fd < 0) {
        return -1;
    }
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    ssize_t sent =
        sendto(fd, text, sizeof(text) - 1, 0, (const struct sockaddr *)&address, sizeof(address));
    close(fd);
    return sent == (ssize_t)sizeof(text) - 1 ? 0 : -1;
}

static int write_pid(const char *config)
{
    char path[512];
    snprintf(path, sizeof(path), "%s.pid", config);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%d\n", (int)getpid()) < 0) {
        return -1;
    }
    return fclose(file);
}

int main(int argc, char **argv)
{
    const char *mode = getenv("STAND_IN");
    sigset_t stop;
    int signum = 0;
    mode = mode ? mode : "";
    if (argc != 3 || strcmp(argv[1], "--config") != 0 || write_pid(argv[2])) {
        return 64;
    }
    printf("stand-in %s\n", argv[2]);
    fflush(stdout);
    if (strcmp(mode, "fail") == 0) {
        printf("this is why\n");
        return 78;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    if (strcmp(mode, "silent") != 0 && tell_ready()) {
        return 70;
    }
    do {
        sigwait(&stop, &signum);
    } while (strcmp(mode, "stubborn") == 0);
    return 0;
}
