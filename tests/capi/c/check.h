/* Shared by the C tests. A failed check prints its place and ends the process at once. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <leasehold.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The time limit of a wait, under a memory checker on a loaded machine. */
#define PATIENCE_MS (120 * 1000)

#define CHECK(condition) ((condition) ? (void)0 : failed(__FILE__, __LINE__, #condition))
#define IS(expected, call) expect(__FILE__, __LINE__, #call, expected, call)
#define OK(call) IS(LEASEHOLD_OK, call)

/* Clock and pointer differences are not used by every program. */
#define MAY_BE_UNUSED __attribute__((unused))

MAY_BE_UNUSED static void failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", file, line, what,
            leasehold_last_error());
    _exit(1);
}

MAY_BE_UNUSED static void expect(const char *file, int line, const char *call,
                                 leasehold_code expected, leasehold_code found) {
    if (found != expected) {
        fprintf(stderr, "%s:%d: %s is %d and not %d (last error: %s)\n", file, line, call, found,
                expected, leasehold_last_error());
        _exit(1);
    }
}

/* A TTL that outlasts a memory checker on a loaded machine. */
#ifndef TTL_MS
#define TTL_MS 30000
#endif

MAY_BE_UNUSED static leasehold_config *configured(const char *cluster, const char *node,
                                                  const char *servers) {
    leasehold_config *config = NULL;
    OK(leasehold_config_new(cluster, node, servers, &config));
    OK(leasehold_config_set_number(config, "election.leaseTtlMs", TTL_MS));
    OK(leasehold_config_set_number(config, "election.renewIntervalMs", 1000));
    OK(leasehold_config_set_number(config, "election.cooldownMs", 0));
    OK(leasehold_config_set_number(config, "nats.connectTimeoutMs", 60000));
    OK(leasehold_config_check(config));
    return config;
}

MAY_BE_UNUSED static leasehold_node *started(const char *cluster, const char *node,
                                             const char *servers, const leasehold_hooks *hooks) {
    leasehold_config *config = configured(cluster, node, servers);
    leasehold_node *handle = NULL;
    OK(leasehold_start(config, hooks, &handle));
    OK(leasehold_config_free(config));
    return handle;
}

MAY_BE_UNUSED static leasehold_node *leading(const char *cluster, const char *node,
                                             const char *servers) {
    leasehold_node *handle = started(cluster, node, servers, NULL);
    OK(leasehold_wait_for_leadership(handle, PATIENCE_MS));
    return handle;
}

/* The next event of a kind. Skips others, and drains every term. */
MAY_BE_UNUSED static leasehold_event next(leasehold_node *node, leasehold_event_kind kind) {
    leasehold_event event = {.size = sizeof event};
    do {
        OK(leasehold_next_event(node, &event, PATIENCE_MS));
        CHECK(event.size == sizeof event && event.text[0] != '\0');
        if (event.kind == LEASEHOLD_RESIGNING) {
            OK(leasehold_drained(node, event.epoch));
        }
    } while (event.kind != kind);
    return event;
}

MAY_BE_UNUSED static void doze(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Waits until a condition holds. */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        for (int waited = 0; !(condition); waited += 5) {                                          \
            CHECK(waited < PATIENCE_MS && #condition);                                             \
            doze(5);                                                                               \
        }                                                                                          \
    } while (0)

#endif
