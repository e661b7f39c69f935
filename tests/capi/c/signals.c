/* The library leaves signals and the exit to the program. */
#include "check.h"
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int handled, elsewhere;

static void handler(int number) {
    (void)number;
    if (syscall(SYS_gettid) == getpid()) {
        atomic_fetch_add(&handled, 1);
    } else {
        atomic_fetch_add(&elsewhere, 1);
    }
}

static void read_line(const char *thread, const char *file, const char *field, char line[256]) {
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", thread, file);
    FILE *lines = fopen(path, "r");
    line[0] = '\0';
    while (lines != NULL && fgets(line, 256, lines) && strncmp(line, field, strlen(field)) != 0) {
        line[0] = '\0';
    }
    if (lines != NULL) {
        fclose(lines);
    }
}

/* Every other thread has a name of the library and blocks all signals that can be blocked. The C
 * library reserves two. */
static int check_threads(void) {
    int others = 0;
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        char line[256];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid()) {
            continue;
        }
        read_line(entry->d_name, "status", "SigBlk:", line);
        uint64_t blocked = line[0] ? strtoull(line + 7, NULL, 16) : 0;
        if (line[0] == '\0') {
            continue; /* the thread has just ended */
        }
        uint64_t never = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 3ull << 31;
        CHECK((blocked | never) == UINT64_MAX);
        read_line(entry->d_name, "comm", "", line);
        CHECK(strncmp(line, "leasehold", 9) == 0 || strncmp(line, "nats", 4) == 0);
        others++;
    }
    closedir(threads);
    return others;
}

static void on_event(void *data, const leasehold_event *event) {
    (void)data, (void)event;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, before, after;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGPIPE, NULL, &before) == 0);
    leasehold_hooks hooks = {.size = sizeof hooks, .on_event = on_event};
    leasehold_node *node = started("signals", "node", argv[1], &hooks);
    OK(leasehold_serve_health(node));
    OK(leasehold_wait_for_leadership(node, PATIENCE_MS));
    /* That renews, that calls back, and that answers; with the nats crate more. */
    EVENTUALLY(check_threads() >= 3);
    CHECK(sigaction(SIGPIPE, NULL, &after) == 0 && before.sa_handler == after.sa_handler);

    /* Sent to the process: the kernel chooses a thread that does not block the signal. */
    for (int times = 0; times < 200; times++) {
        int seen = atomic_load(&handled);
        CHECK(kill(getpid(), SIGUSR1) == 0);
        EVENTUALLY(atomic_load(&handled) > seen);
    }
    CHECK(atomic_load(&elsewhere) == 0 && leasehold_is_leader(node));
    puts("done");
    /* Exits while the node runs, which must neither hang nor crash. */
    return 0;
}
