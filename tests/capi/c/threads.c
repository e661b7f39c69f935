/* Many threads make all calls at once on handles that are made and freed meanwhile. */
/* Short, as terms that are not drained must expire. */
#define TTL_MS 5000
#include "check.h"
#include <stdatomic.h>

enum { THREADS = 8, NODES = 3 };

static const char *servers;
static _Atomic(leasehold_node *) nodes[NODES];
static _Atomic(leasehold_token *) tokens[NODES];
static atomic_bool ending;
static atomic_ulong calls, events;

/* Any code is right except for a defect: handles may become invalid at any time. */
static void any(leasehold_code code) {
    CHECK(code != LEASEHOLD_E_PANIC && code != LEASEHOLD_E_FORKED && code != LEASEHOLD_E_NULL);
    atomic_fetch_add(&calls, 1);
}

static void ask(leasehold_node *node, leasehold_token *token) {
    char text[LEASEHOLD_NODE_ID_SIZE];
    size_t length;
    int descriptor;
    leasehold_status status = {.size = sizeof status};
    leasehold_stats stats = {.size = sizeof stats};
    (void)leasehold_is_leader(node);
    (void)leasehold_token_is_valid(token);
    (void)leasehold_token_remaining_ms(token);
    (void)leasehold_epoch(node);
    any(leasehold_leader(node, text, sizeof text, &length));
    any(leasehold_leader_meta(node, text, sizeof text, &length));
    any(leasehold_metrics(node, text, sizeof text, &length));
    any(leasehold_get_status(node, &status));
    any(leasehold_get_stats(node, &stats));
    any(leasehold_descriptor(node, &descriptor));
    any(leasehold_token_session(token, text, sizeof text, &length));
    any(leasehold_wait_for_leader(node, 0));
    any(leasehold_wait_for_leadership(node, 0));
}

static void listen(leasehold_node *node, unsigned *dice) {
    leasehold_event event = {.size = sizeof event};
    leasehold_code code = leasehold_next_event(node, &event, rand_r(dice) % 3);
    any(code);
    if (code == LEASEHOLD_OK) {
        atomic_fetch_add(&events, 1);
        if (event.kind == LEASEHOLD_RESIGNING) {
            any(leasehold_drained(node, event.epoch));
        }
    }
}

static void command(leasehold_node *node, int at, unsigned *dice) {
    leasehold_token *token = NULL;
    switch (rand_r(dice) % 8) {
    case 0: any(leasehold_step_down(node)); break;
    case 1: any(leasehold_transfer(node, "node-1")); break;
    case 2: any(leasehold_promote(node)); break;
    case 3: any(leasehold_set_healthy(node, rand_r(dice) % 4 != 0)); break;
    case 4: any(leasehold_set_meta(node, "[1, 2]")); break;
    case 5: any(leasehold_serve_health(node)); break;
    default:
        if (leasehold_token_acquire(node, &token) == LEASEHOLD_OK) {
            token = atomic_exchange(&tokens[at], token);
            /* Another thread may have freed it by now. */
            if (token != NULL) {
                any(leasehold_token_free(token));
            }
        }
    }
}

static void *mix(void *argument) {
    unsigned dice = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&ending)) {
        int at = rand_r(&dice) % NODES;
        leasehold_node *node = atomic_load(&nodes[at]);
        leasehold_token *token = atomic_load(&tokens[at]);
        if (node == NULL || token == NULL) {
            continue;
        }
        ask(node, token);
        listen(node, &dice);
        command(node, at, &dice);
        if (rand_r(&dice) % 500 == 0) {
            any(leasehold_stop(node, NULL));
        }
    }
    return NULL;
}

static leasehold_node *renew(int at) {
    char name[] = "node-0";
    name[5] += at;
    leasehold_node *node = started("threads", name, servers, NULL);
    return atomic_exchange(&nodes[at], node);
}

static void *listen_for_ever(void *node) {
    leasehold_event event = {.size = sizeof event};
    leasehold_code code;
    while ((code = leasehold_next_event(node, &event, -1)) == LEASEHOLD_OK) {
        (void)leasehold_drained(node, event.epoch);
    }
    CHECK(code == LEASEHOLD_CLOSED || code == LEASEHOLD_E_HANDLE);
    return NULL;
}

static void *wait_for_ever(void *node) {
    leasehold_code code = leasehold_wait_for_leadership(node, -1);
    CHECK(code == LEASEHOLD_E_STOPPED || code == LEASEHOLD_E_HANDLE);
    return NULL;
}

/* Waiting calls return when another thread stops or frees the node. */
static void waiters_return(void) {
    leasehold_node *leader = leading("waiters", "leader", servers);
    for (int by_stop = 0; by_stop < 2; by_stop++) {
        leasehold_node *follower = started("waiters", "follower", servers, NULL);
        pthread_t threads[2];
        CHECK(pthread_create(&threads[0], NULL, listen_for_ever, follower) == 0);
        CHECK(pthread_create(&threads[1], NULL, wait_for_ever, follower) == 0);
        OK(leasehold_wait_for_leader(follower, PATIENCE_MS));
        doze(50);
        if (by_stop) {
            OK(leasehold_stop(follower, NULL));
        }
        OK(leasehold_free(follower));
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
    }
    OK(leasehold_free(leader));
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    servers = argv[1];
    waiters_return();
    pthread_t threads[THREADS];
    /* An invalid token at first. */
    for (int at = 0; at < NODES; at++) {
        CHECK(renew(at) == NULL);
        atomic_store(&tokens[at], (leasehold_token *)1);
    }
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, mix, (void *)(i + 1)) == 0);
    }
    for (int round = atoi(argv[2]); round > 0; round--) {
        for (int at = 0; at < NODES; at++) {
            leasehold_node *old = renew(at);
            doze(20);
            OK(leasehold_free(old));
            IS(LEASEHOLD_E_HANDLE, leasehold_free(old));
        }
    }
    atomic_store(&ending, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int at = 0; at < NODES; at++) {
        OK(leasehold_free(atomic_load(&nodes[at])));
        leasehold_token *token = atomic_load(&tokens[at]);
        CHECK(!leasehold_token_is_valid(token));
        (void)leasehold_token_free(token);
    }
    CHECK(atomic_load(&calls) > 1000 && atomic_load(&events) > 0);
    printf("done: %lu calls, %lu events\n", atomic_load(&calls), atomic_load(&events));
    return 0;
}
