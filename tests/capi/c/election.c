/* Leader changes, whose events arrive by timeout, poll and callback. */
#include "check.h"
#include <poll.h>
#include <sys/epoll.h>

static const char *servers;

static void check_leader(leasehold_node *node, const char *id) {
    char name[LEASEHOLD_NODE_ID_SIZE], small[2];
    size_t length = 0;
    OK(leasehold_leader(node, name, sizeof name, &length));
    CHECK(strcmp(name, id) == 0 && length == strlen(id));
    IS(LEASEHOLD_E_BUFFER, leasehold_leader(node, small, sizeof small, &length));
    CHECK(length == strlen(id));

    leasehold_status status = {.size = sizeof status};
    /* On a loaded machine the connection may just have been lost. */
    EVENTUALLY(leasehold_get_status(node, &status) == LEASEHOLD_OK && status.connected);
    CHECK(status.leads && !status.resigning && status.revision > 0);
    CHECK(status.epoch == leasehold_epoch(node) && strcmp(status.leader, id) == 0);

    leasehold_stats stats = {.size = sizeof stats};
    OK(leasehold_get_stats(node, &stats));
    CHECK(stats.terms == 1 && stats.remaining_ms <= TTL_MS);

    IS(LEASEHOLD_E_BUFFER, leasehold_metrics(node, NULL, 0, &length));
    char *text = malloc(length + 4096);
    OK(leasehold_metrics(node, text, length + 4096, &length));
    CHECK(strlen(text) == length && strstr(text, "leasehold_") != NULL);
    free(text);
}

static void check_meta(leasehold_node *node) {
    char meta[64];
    OK(leasehold_set_meta(node, "{\"port\": 80}"));
    EVENTUALLY(leasehold_leader_meta(node, meta, sizeof meta, NULL) == LEASEHOLD_OK);
    CHECK(strcmp(meta, "{\"port\":80}") == 0);
    IS(LEASEHOLD_E_TEXT, leasehold_set_meta(node, "{"));
    CHECK(strstr(leasehold_last_error(), "meta: not valid JSON") != NULL);
    OK(leasehold_set_meta(node, "null"));
}

/* The first node gets its event by a call with a timeout. */
static leasehold_token *leads_by_timeout(leasehold_node *node) {
    leasehold_token *token = NULL;
    leasehold_event event = next(node, LEASEHOLD_BECAME_LEADER);
    uint64_t epoch = event.epoch;
    CHECK(epoch > 0 && epoch == leasehold_epoch(node));
    EVENTUALLY(leasehold_next_event(node, &event, 10) == LEASEHOLD_NOTHING);
    IS(LEASEHOLD_NOTHING, leasehold_next_event(node, &event, 0));

    CHECK(leasehold_is_leader(node));
    OK(leasehold_token_acquire(node, &token));
    CHECK(leasehold_token_is_valid(token));
    CHECK(leasehold_token_epoch(token) == epoch);
    CHECK(leasehold_token_remaining_ms(token) > 0 && leasehold_token_remaining_ms(token) <= TTL_MS);
    char session[33];
    OK(leasehold_token_session(token, session, sizeof session, NULL));
    CHECK(strspn(session, "0123456789abcdef") == 32);
    IS(LEASEHOLD_E_TO_ITSELF, leasehold_transfer(node, "one"));
    return token;
}

static int waits(int loop, int timeout_ms) {
    struct epoll_event ready;
    return epoll_wait(loop, &ready, 1, timeout_ms);
}

/* The second node gets its event by the descriptor, after the first has stepped down. */
static uint64_t leads_by_poll(leasehold_node *first, leasehold_node *second) {
    int events = -1, again = -1, loop = epoll_create1(EPOLL_CLOEXEC);
    OK(leasehold_descriptor(second, &events));
    OK(leasehold_descriptor(second, &again));
    struct epoll_event wanted = {.events = EPOLLIN};
    CHECK(events >= 0 && again == events && loop >= 0);
    CHECK(epoll_ctl(loop, EPOLL_CTL_ADD, events, &wanted) == 0);

    leasehold_event event = {.size = sizeof event};
    while (waits(loop, 0) == 1) {
        (void)leasehold_next_event(second, &event, 0);
    }
    OK(leasehold_step_down(first));
    CHECK(!leasehold_is_leader(first));
    next(first, LEASEHOLD_RESIGNING);
    while (event.kind != LEASEHOLD_BECAME_LEADER) {
        CHECK(waits(loop, PATIENCE_MS) == 1);
        leasehold_code code = leasehold_next_event(second, &event, 0);
        CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_NOTHING);
    }
    CHECK(leasehold_is_leader(second));
    close(loop);
    return event.epoch;
}

typedef struct {
    uint64_t became, lost;
    leasehold_cause cause;
    int others, releases;
    pthread_mutex_t lock;
} history;

static void on_become_leader(void *data, uint64_t epoch) {
    history *record = data;
    pthread_mutex_lock(&record->lock);
    record->became = epoch;
    pthread_mutex_unlock(&record->lock);
}

static void on_lose_leadership(void *data, const leasehold_event *event) {
    history *record = data;
    pthread_mutex_lock(&record->lock);
    record->lost = event->epoch;
    record->cause = event->cause;
    pthread_mutex_unlock(&record->lock);
}

static void on_event(void *data, const leasehold_event *event) {
    history *record = data;
    CHECK(event->size == sizeof *event && event->kind != LEASEHOLD_BECAME_LEADER);
    pthread_mutex_lock(&record->lock);
    record->others++;
    pthread_mutex_unlock(&record->lock);
}

static void release(void *data) {
    history *record = data;
    pthread_mutex_lock(&record->lock);
    record->releases++;
    pthread_mutex_unlock(&record->lock);
}

static history read_history(history *shared) {
    pthread_mutex_lock(&shared->lock);
    history copy = *shared;
    pthread_mutex_unlock(&shared->lock);
    return copy;
}

/* The third node gets its events by callbacks: the second hands over to it, and it stops. */
static void leads_by_callback(leasehold_node *second, uint64_t epoch) {
    history record = {.lock = PTHREAD_MUTEX_INITIALIZER};
    leasehold_hooks hooks = {sizeof hooks, &record, on_become_leader, on_lose_leadership,
                             on_event,     release};
    leasehold_node *third = started("election", "three", servers, &hooks);
    OK(leasehold_wait_for_leader(third, PATIENCE_MS));
    OK(leasehold_transfer(second, "three"));
    leasehold_event resigning = next(second, LEASEHOLD_RESIGNING);
    CHECK(resigning.reason == LEASEHOLD_TRANSFER && strcmp(resigning.node_id, "three") == 0);
    leasehold_event lost = next(second, LEASEHOLD_LOST_LEADERSHIP);
    CHECK(lost.epoch == epoch && lost.cause == LEASEHOLD_RESIGNED);
    EVENTUALLY(read_history(&record).became != 0);
    CHECK(read_history(&record).became > epoch && read_history(&record).others > 0);
    bool left = true;
    OK(leasehold_stop(third, &left));
    CHECK(!left);
    OK(leasehold_free(third));
    EVENTUALLY(read_history(&record).releases == 1);
    history ended = read_history(&record);
    CHECK(ended.lost == ended.became && ended.cause == LEASEHOLD_RESIGNED);
}

/* Events can be taken after the stop, which does not wait for that; the end of the term is last. */
static void events_after_the_stop(bool asked) {
    leasehold_node *node = leading("late", "late", servers);
    struct pollfd events = {.events = POLLIN};
    if (asked) {
        OK(leasehold_descriptor(node, &events.fd));
        OK(leasehold_step_down(node));
    }
    bool left = true;
    OK(leasehold_stop(node, &left));
    CHECK(!left);
    OK(leasehold_descriptor(node, &events.fd));
    CHECK(poll(&events, 1, 0) == 1);
    leasehold_event event = next(node, LEASEHOLD_BECAME_LEADER);
    if (asked) {
        event = next(node, LEASEHOLD_RESIGNING);
    }
    CHECK(poll(&events, 1, 0) == 1);
    uint64_t epoch = event.epoch;
    event = next(node, LEASEHOLD_LOST_LEADERSHIP);
    CHECK(event.epoch == epoch && event.cause == LEASEHOLD_RESIGNED);
    CHECK(event.reason == (asked ? LEASEHOLD_STEP_DOWN : LEASEHOLD_STOP));
    leasehold_code code;
    while ((code = leasehold_next_event(node, &event, -1)) == LEASEHOLD_OK) {
    }
    IS(LEASEHOLD_CLOSED, code);
    IS(LEASEHOLD_CLOSED, leasehold_next_event(node, &event, 0));
    CHECK(poll(&events, 1, 0) == 0);
    OK(leasehold_free(node));
}

typedef enum { BY_STEP_DOWN, BY_HEALTH, BY_TRANSFER, WAYS } way;

/* `leasehold_drained` may be called right after the step-down, before the event is taken. */
static void drained_before_the_event_is_taken(way way) {
    leasehold_node *node = leading("early", "early", servers);
    leasehold_event event = {.size = sizeof event};
    leasehold_status status = {.size = sizeof status};
    int events = -1;
    OK(leasehold_descriptor(node, &events));
    uint64_t epoch = leasehold_epoch(node);
    OK(leasehold_drained(node, epoch)); /* no effect: the node does not step down yet */
    CHECK(leasehold_is_leader(node));
    OK(way == BY_STEP_DOWN ? leasehold_step_down(node)
       : way == BY_HEALTH  ? leasehold_set_healthy(node, false)
                           : leasehold_transfer(node, "other"));
    OK(leasehold_drained(node, epoch + 1));
    OK(leasehold_get_status(node, &status));
    CHECK(status.resigning);
    OK(leasehold_drained(node, epoch));
    EVENTUALLY(leasehold_get_status(node, &status) == LEASEHOLD_OK && !status.resigning);
    do {
        OK(leasehold_next_event(node, &event, PATIENCE_MS));
    } while (event.kind != LEASEHOLD_RESIGNING);
    do {
        OK(leasehold_next_event(node, &event, PATIENCE_MS));
    } while (event.kind != LEASEHOLD_LOST_LEADERSHIP);
    CHECK(event.epoch == epoch && event.cause == LEASEHOLD_RESIGNED);
    OK(leasehold_free(node));
}

/* After a stop every command returns LEASEHOLD_E_STOPPED. */
static void stops(leasehold_node *node) {
    int events = -1;
    OK(leasehold_descriptor(node, &events));
    OK(leasehold_stop(node, NULL));
    leasehold_event event = {.size = sizeof event};
    while (leasehold_next_event(node, &event, -1) == LEASEHOLD_OK) {
    }
    IS(LEASEHOLD_CLOSED, leasehold_next_event(node, &event, -1));
    IS(LEASEHOLD_E_STOPPED, leasehold_stop(node, NULL));
    IS(LEASEHOLD_E_STOPPED, leasehold_step_down(node));
    IS(LEASEHOLD_E_STOPPED, leasehold_promote(node));
    IS(LEASEHOLD_E_STOPPED, leasehold_serve_health(node));
    IS(LEASEHOLD_E_STOPPED, leasehold_wait_for_leadership(node, -1));
    IS(LEASEHOLD_E_STOPPED, leasehold_set_healthy(node, false));
    IS(LEASEHOLD_E_STOPPED, leasehold_set_meta(node, "1"));
    CHECK(!leasehold_is_leader(node));
    OK(leasehold_free(node));
    IS(LEASEHOLD_E_HANDLE, leasehold_free(node));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    servers = argv[1];
    leasehold_node *first = started("election", "one", servers, NULL);
    leasehold_token *token = leads_by_timeout(first);
    check_leader(first, "one");
    check_meta(first);

    leasehold_node *second = started("election", "two", servers, NULL);
    uint64_t epoch = leads_by_poll(first, second);
    CHECK(!leasehold_token_is_valid(token) && leasehold_token_remaining_ms(token) == 0);
    CHECK(epoch > leasehold_token_epoch(token));
    IS(LEASEHOLD_E_NOT_LEADER, leasehold_step_down(first));
    leasehold_token *none = NULL;
    IS(LEASEHOLD_E_NOT_LEADER, leasehold_token_acquire(first, &none));
    CHECK(none == NULL);

    /* Leaves only the third node to take over. */
    stops(first);
    CHECK(!leasehold_token_is_valid(token) && leasehold_token_epoch(token) < epoch);
    OK(leasehold_token_free(token));
    leads_by_callback(second, epoch);
    stops(second);
    events_after_the_stop(true);
    events_after_the_stop(false);
    for (way way = 0; way < WAYS; way++) {
        drained_before_the_event_is_taken(way);
    }
    puts("done");
    return 0;
}
