/* Callbacks that call the library, and slow callbacks. */
#include "check.h"
#include <semaphore.h>

static const char *servers;
static leasehold_node *node, *inner;
static sem_t set, led, lost, released, go_on;

static void post(sem_t *semaphore) {
    CHECK(sem_post(semaphore) == 0);
}

static void await(sem_t *semaphore) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    CHECK(sem_timedwait(semaphore, &until) == 0);
}

static void refused_in_callbacks(void) {
    bool left;
    IS(LEASEHOLD_E_IN_CALLBACK, leasehold_stop(node, &left));
    IS(LEASEHOLD_E_IN_CALLBACK, leasehold_free(node));
    IS(inner == NULL ? LEASEHOLD_OK : LEASEHOLD_E_IN_CALLBACK, leasehold_free(inner));
}

static void on_become_leader(void *data, uint64_t epoch) {
    char name[LEASEHOLD_NODE_ID_SIZE];
    leasehold_token *token = NULL;
    CHECK(data == &node);
    await(&set); /* `node` is stored when `leasehold_start` returns */
    post(&set);
    refused_in_callbacks();
    CHECK(leasehold_is_leader(node) && leasehold_epoch(node) == epoch);
    OK(leasehold_leader(node, name, sizeof name, NULL));
    OK(leasehold_token_acquire(node, &token));
    CHECK(leasehold_token_is_valid(token) && leasehold_token_epoch(token) == epoch);
    OK(leasehold_token_free(token));
    OK(leasehold_set_meta(node, "\"from a callback\""));
    OK(leasehold_wait_for_leadership(node, -1));
    if (inner == NULL) {
        inner = started("inner", "inner", servers, NULL);
        refused_in_callbacks();
        OK(leasehold_wait_for_leadership(inner, PATIENCE_MS));
    }
    /* From now on the node waits for `leasehold_drained` when it steps down. */
    leasehold_event event = {.size = sizeof event};
    leasehold_code code = leasehold_next_event(node, &event, 0);
    CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_NOTHING);
    OK(leasehold_step_down(node));
    CHECK(!leasehold_is_leader(node));
    CHECK(next(node, LEASEHOLD_RESIGNING).epoch == epoch);
    post(&led);
}

static void on_lose_leadership(void *data, const leasehold_event *event) {
    CHECK(data == &node && event->kind == LEASEHOLD_LOST_LEADERSHIP);
    CHECK(event->cause == LEASEHOLD_RESIGNED && event->reason != LEASEHOLD_NO_REASON);
    refused_in_callbacks();
    leasehold_code code = leasehold_promote(node);
    CHECK(code == LEASEHOLD_E_RESIGNING || code == LEASEHOLD_E_STOPPED);
    post(&lost);
}

static void on_event(void *data, const leasehold_event *event) {
    CHECK(data == &node && event->text[0] != '\0');
    await(&set);
    post(&set);
    refused_in_callbacks();
}

static void on_release(void *data) {
    CHECK(data == &node);
    IS(LEASEHOLD_E_IN_CALLBACK, leasehold_free(inner));
    post(&released);
}

static void calls_in_callbacks(void) {
    leasehold_hooks hooks = {.size = sizeof hooks,
                             .user_data = &node,
                             .on_become_leader = on_become_leader,
                             .on_lose_leadership = on_lose_leadership,
                             .on_event = on_event,
                             .release = on_release};
    node = started("callbacks", "node", servers, &hooks);
    post(&set);
    for (int term = 0; term < 2; term++) {
        await(&led);
        await(&lost);
    }
    OK(leasehold_stop(node, NULL));
    OK(leasehold_free(node));
    await(&released);
    OK(leasehold_free(inner));
}

static void on_become_leader_slowly(void *data, uint64_t epoch) {
    (void)data, (void)epoch;
    post(&led);
    await(&go_on);
}

/* The node keeps renewing, stops in bounded time, and `release` is called after the callback. */
static void a_callback_that_hangs(void) {
    leasehold_hooks hooks = {.size = sizeof hooks,
                             .user_data = &node,
                             .on_become_leader = on_become_leader_slowly,
                             .release = on_release};
    node = started("callbacks", "slow", servers, &hooks);
    await(&led);
    leasehold_stats stats = {.size = sizeof stats};
    EVENTUALLY(leasehold_get_stats(node, &stats) == LEASEHOLD_OK && stats.renewals > 2);
    OK(leasehold_free(node));
    CHECK(sem_trywait(&released) != 0);
    post(&go_on);
    await(&released);
}

static void on_lose_leadership_slowly(void *data, const leasehold_event *event) {
    (void)data, (void)event;
    post(&led);
    doze(500);
    post(&lost);
}

static void *stop(void *node) {
    OK(leasehold_stop(node, NULL));
    return NULL;
}

/* `leasehold_free` waits for another thread's `leasehold_stop`. */
static void freed_while_it_stops(void) {
    leasehold_hooks hooks = {.size = sizeof hooks,
                             .user_data = &node,
                             .on_lose_leadership = on_lose_leadership_slowly,
                             .release = on_release};
    leasehold_config *config = configured("callbacks", "stopped", servers);
    OK(leasehold_config_set_number(config, "election.stopTimeoutMs", PATIENCE_MS));
    OK(leasehold_start(config, &hooks, &node));
    OK(leasehold_config_free(config));
    OK(leasehold_wait_for_leadership(node, PATIENCE_MS));
    pthread_t stopper;
    CHECK(pthread_create(&stopper, NULL, stop, node) == 0);
    await(&led);
    OK(leasehold_free(node));
    CHECK(sem_trywait(&lost) == 0);
    pthread_join(stopper, NULL);
    await(&released);
}

/* A failed start calls `release` once, and `release` may call the library. */
static void failed_starts(void) {
    leasehold_hooks hooks = {.size = sizeof hooks, .user_data = &node, .release = on_release};
    leasehold_node *none = NULL;
    leasehold_config *config = configured("callbacks", "none", "nats://127.0.0.1:1");
    inner = (leasehold_node *)1;
    OK(leasehold_config_set_number(config, "nats.connectTimeoutMs", 300));
    IS(LEASEHOLD_E_UNREACHABLE, leasehold_start(config, &hooks, &none));
    await(&released);
    IS(LEASEHOLD_E_NULL, leasehold_start(config, &hooks, NULL));
    await(&released);
    IS(LEASEHOLD_E_NULL, leasehold_start(NULL, &hooks, &none));
    await(&released);
    hooks.size = 3;
    IS(LEASEHOLD_E_SIZE, leasehold_start(config, &hooks, &none));
    CHECK(sem_trywait(&released) != 0 && none == NULL);
    OK(leasehold_config_free(config));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    servers = argv[1];
    sem_t *all[] = {&set, &led, &lost, &released, &go_on};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        CHECK(sem_init(all[i], 0, 0) == 0);
    }
    calls_in_callbacks();
    a_callback_that_hangs();
    freed_while_it_stops();
    failed_starts();
    puts("done");
    return 0;
}
