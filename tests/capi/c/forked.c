/* Forked children of a leader: they do not lead, do not hang, and do not disturb the parent. */
#include "check.h"
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static leasehold_node *node;
static leasehold_token *token;
static leasehold_config *config;
static atomic_bool ending;

#define FORKED(call) IS(LEASEHOLD_E_FORKED, call)

static void refuses_everything(void) {
    char text[64];
    size_t length;
    int descriptor;
    leasehold_node *made = NULL;
    leasehold_config *other = NULL;
    leasehold_token *term = NULL;
    leasehold_event event = {.size = sizeof event};
    leasehold_status status = {.size = sizeof status};
    leasehold_stats stats = {.size = sizeof stats};
    leasehold_hooks hooks = {.size = sizeof hooks};
    CHECK(!leasehold_is_leader(node) && !leasehold_token_is_valid(token));
    CHECK(leasehold_epoch(node) == 0 && leasehold_token_epoch(token) == 0);
    CHECK(leasehold_token_remaining_ms(token) == 0);
    FORKED(leasehold_config_new("a", "b", "c", &other));
    FORKED(leasehold_config_load("/dev/null", &other));
    FORKED(leasehold_config_parse("{}", &other));
    FORKED(leasehold_config_set_number(config, "election.leaseTtlMs", 1));
    FORKED(leasehold_config_check(config));
    FORKED(leasehold_config_free(config));
    FORKED(leasehold_start(config, &hooks, &made));
    FORKED(leasehold_next_event(node, &event, -1));
    FORKED(leasehold_descriptor(node, &descriptor));
    FORKED(leasehold_drained(node, 1));
    FORKED(leasehold_leader(node, text, sizeof text, &length));
    FORKED(leasehold_wait_for_leader(node, -1));
    FORKED(leasehold_wait_for_leadership(node, -1));
    FORKED(leasehold_step_down(node));
    FORKED(leasehold_transfer(node, "a"));
    FORKED(leasehold_promote(node));
    FORKED(leasehold_set_healthy(node, false));
    FORKED(leasehold_set_meta(node, "1"));
    FORKED(leasehold_serve_health(node));
    FORKED(leasehold_token_acquire(node, &term));
    FORKED(leasehold_token_session(token, text, sizeof text, &length));
    FORKED(leasehold_get_status(node, &status));
    FORKED(leasehold_get_stats(node, &stats));
    FORKED(leasehold_metrics(node, text, sizeof text, &length));
    FORKED(leasehold_token_free(token));
    FORKED(leasehold_stop(node, NULL));
    FORKED(leasehold_free(node));
    CHECK(strlen(leasehold_last_error()) > 0 && leasehold_abi() == LEASEHOLD_ABI);
}

/* Killed, so that neither exit handlers nor the memory checker's leak check run in the child:
 * memory that only the parent's threads point to is not a leak. */
static void in_a_child(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        refuses_everything();
        pid_t grandchild = fork();
        if (grandchild == 0) {
            refuses_everything();
            kill(getpid(), SIGKILL);
        }
        int status;
        CHECK(waitpid(grandchild, &status, 0) == grandchild && WIFSIGNALED(status));
        kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A child that exits: `atexit` functions and destructors do not hang. */
static void in_a_child_that_exits(void) {
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        refuses_everything();
        exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
}

/* Keeps locks busy, so that forks happen while they are held. */
static void *ask(void *unused) {
    while (!atomic_load(&ending)) {
        leasehold_status status = {.size = sizeof status};
        leasehold_token *other = NULL;
        OK(leasehold_get_status(node, &status));
        if (leasehold_token_acquire(node, &other) == LEASEHOLD_OK) {
            OK(leasehold_token_free(other));
        }
    }
    return unused;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    config = configured("forked", "parent", argv[1]);
    node = leading("forked", "parent", argv[1]);
    OK(leasehold_token_acquire(node, &token));
    pthread_t busy;
    CHECK(pthread_create(&busy, NULL, ask, NULL) == 0);
    for (int times = atoi(argv[2]); times > 0; times--) {
        in_a_child();
    }
    in_a_child_that_exits();
    atomic_store(&ending, true);
    pthread_join(busy, NULL);
    CHECK(leasehold_is_leader(node) && leasehold_token_is_valid(token));
    next(node, LEASEHOLD_BECAME_LEADER);
    bool left = true;
    OK(leasehold_stop(node, &left));
    CHECK(!left);
    OK(leasehold_free(node));
    OK(leasehold_token_free(token));
    OK(leasehold_config_free(config));
    puts("done");
    return 0;
}
