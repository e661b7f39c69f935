/* Without descriptors or threads, calls return codes; they succeed again when there are some. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *servers;

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = -1; /* the folder's own */
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count - 2; /* `.` and `..` */
}

static void limit(int resource, rlim_t most) {
    struct rlimit limits;
    CHECK(getrlimit(resource, &limits) == 0);
    limits.rlim_cur = most > limits.rlim_max ? limits.rlim_max : most;
    CHECK(setrlimit(resource, &limits) == 0);
}

/* Opens all descriptors of the process but `spare`. */
static void hold_all_but(int spare, int held[], int *count) {
    *count = 0;
    while ((held[*count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        ++*count;
    }
    while (spare-- > 0 && *count > 0) {
        close(held[--*count]);
    }
}

static void let_go(int held[], int count) {
    while (count > 0) {
        close(held[--count]);
    }
}

static void start_without(const leasehold_config *config) {
    int held[256], count, before = open_descriptors();
    bool started = false;
    for (int spare = 0; !started && spare < 24; spare++) {
        leasehold_node *node = NULL;
        hold_all_but(spare, held, &count);
        leasehold_code code = leasehold_start(config, NULL, &node);
        started = code == LEASEHOLD_OK;
        let_go(held, count);
        CHECK(started || code == LEASEHOLD_E_SYSTEM || code == LEASEHOLD_E_UNREACHABLE ||
              code == LEASEHOLD_E_SERVER || code == LEASEHOLD_E_CONFIG);
        CHECK(started || node == NULL);
        OK(leasehold_free(node));
    }
    CHECK(started);
    EVENTUALLY(open_descriptors() <= before);
}

static void ask_without(leasehold_node *node) {
    int held[256], count, descriptor = -1;
    leasehold_config *config = NULL;
    hold_all_but(0, held, &count);
    IS(LEASEHOLD_E_SYSTEM, leasehold_descriptor(node, &descriptor));
    CHECK(descriptor == -1);
    IS(LEASEHOLD_E_CONFIG, leasehold_config_load("/etc/passwd", &config));
    leasehold_code code = leasehold_serve_health(node);
    CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_E_SYSTEM);
    doze(300);
    CHECK(leasehold_is_leader(node));
    let_go(held, count);
    OK(leasehold_serve_health(node));
    OK(leasehold_descriptor(node, &descriptor));
    CHECK(descriptor >= 0);
}

/* In another process, which cannot raise its limits again. */
static void without_threads(const char *self) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl(self, self, servers, "threads", (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int starts_without_threads(void) {
    leasehold_config *config = configured("limits", "threadless", servers);
    int failures = 0;
    OK(leasehold_config_set_number(config, "nats.connectTimeoutMs", 1500));
    /* Limits do not apply to root; this user has no other threads. */
    CHECK(geteuid() != 0 || setuid(61000 + getpid() % 4000) == 0);
    for (rlim_t threads = 1; threads < 10; threads++) {
        leasehold_node *node = NULL;
        limit(RLIMIT_NPROC, threads);
        leasehold_code code = leasehold_start(config, NULL, &node);
        failures += code != LEASEHOLD_OK;
        CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_E_SYSTEM ||
              code == LEASEHOLD_E_UNREACHABLE);
        if (code == LEASEHOLD_OK) {
            code = leasehold_serve_health(node);
            CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_E_SYSTEM);
        }
        OK(leasehold_free(node));
    }
    CHECK(failures > 0);
    OK(leasehold_config_free(config));
    puts("threads: done");
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    servers = argv[1];
    if (argc == 3) {
        return starts_without_threads();
    }
    without_threads(argv[0]);
    limit(RLIMIT_NOFILE, 64);
    leasehold_config *config = configured("limits", "short", servers);
    OK(leasehold_config_set_number(config, "nats.connectTimeoutMs", 1500));
    start_without(config);
    OK(leasehold_config_free(config));
    leasehold_node *node = leading("limits", "node", servers);
    ask_without(node);
    CHECK(leasehold_is_leader(node));
    OK(leasehold_free(node));
    puts("done");
    return 0;
}
