/* A service of worker threads and an epoll loop, of which one instance works at a time.
 *
 * The main loop also waits for the node's descriptor. Workers do a job only while this instance
 * leads, and write the result to a ledger. The ledger knows the newest epoch and refuses older
 * ones: a worker that was suspended between its check and its write does no harm.
 *
 *   make && ./legacy node-1 & ./legacy node-2
 *
 * Arguments, all optional: node id, cluster id, server, ledger.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <leasehold.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2

typedef struct {
    leasehold_node *node;
    const char *ledger;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* `lock` protects the fields below. */
    leasehold_token *token; /* of the current term, or null */
    uint64_t resigning;     /* the epoch to drain when no worker is busy, or 0 */
    int busy;
    bool ending;
} service;

/* ---- The resource: one atomic step checks the epoch and writes. ---- */

typedef enum { WRITTEN, FENCED, BROKEN } outcome;

/* Epoch and session of the ledger's last line, which is its newest. */
static bool newest(int file, uint64_t *epoch, char session[33]) {
    char tail[257] = "";
    off_t end = lseek(file, 0, SEEK_END);
    off_t from = end > 256 ? end - 256 : 0;
    ssize_t length = end < 0 ? -1 : pread(file, tail, 256, from);
    if (length < 0) {
        return false;
    }
    *epoch = 0;
    session[0] = '\0';
    if (length > 0) {
        tail[length - 1] = '\0';
        const char *line = strrchr(tail, '\n');
        return sscanf(line ? line + 1 : tail, "%" SCNu64 " %32s", epoch, session) == 2;
    }
    return true;
}

static outcome append(const char *ledger, uint64_t epoch, const char *session) {
    int file = open(ledger, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0 || flock(file, LOCK_EX) != 0) {
        if (file >= 0) {
            close(file);
        }
        return BROKEN;
    }
    uint64_t highest;
    char holder[33];
    outcome result = BROKEN;
    if (newest(file, &highest, holder)) {
        bool stale = epoch < highest || (epoch == highest && strcmp(session, holder) != 0);
        char line[96];
        int length = snprintf(line, sizeof line, "%" PRIu64 " %s\n", epoch, session);
        result = stale ? FENCED : write(file, line, length) == length ? WRITTEN : BROKEN;
    }
    close(file); /* unlocks it too */
    return result;
}

/* ---- The workers. ---- */

static void do_a_job(const service *service, leasehold_token *token) {
    /* The main loop may free the token meanwhile: then it is not valid, which is no error. */
    char session[33];
    uint64_t epoch = leasehold_token_epoch(token);
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    if (!leasehold_token_is_valid(token) ||
        leasehold_token_session(token, session, sizeof session, NULL) != LEASEHOLD_OK) {
        return;
    }
    switch (append(service->ledger, epoch, session)) {
    case WRITTEN: printf("worked in epoch %" PRIu64 "\n", epoch); break;
    case FENCED: printf("fenced in epoch %" PRIu64 "\n", epoch); break;
    case BROKEN: perror(service->ledger); break;
    }
}

static void drain(service *service) {
    if (service->resigning != 0 && service->busy == 0) {
        leasehold_drained(service->node, service->resigning);
        service->resigning = 0;
    }
}

static void *work(void *argument) {
    service *service = argument;
    pthread_mutex_lock(&service->lock);
    while (!service->ending) {
        leasehold_token *token = service->token;
        if (token == NULL) {
            pthread_cond_wait(&service->changed, &service->lock);
            continue;
        }
        service->busy++;
        pthread_mutex_unlock(&service->lock);
        do_a_job(service, token);
        pthread_mutex_lock(&service->lock);
        service->busy--;
        drain(service);
    }
    pthread_mutex_unlock(&service->lock);
    return NULL;
}

/* ---- The main loop. ---- */

/* Sets the term of the workers; a null token stops them. */
static void set_term(service *service, leasehold_token *token, uint64_t resigning) {
    pthread_mutex_lock(&service->lock);
    leasehold_token_free(service->token);
    service->token = token;
    service->resigning = resigning;
    drain(service);
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
}

static void handle(service *service, const leasehold_event *event) {
    leasehold_token *token = NULL;
    puts(event->text);
    switch (event->kind) {
    case LEASEHOLD_BECAME_LEADER:
        /* Fails if the term is over already; then `LOST_LEADERSHIP` comes next. */
        if (leasehold_token_acquire(service->node, &token) == LEASEHOLD_OK) {
            set_term(service, token, 0);
        }
        break;
    case LEASEHOLD_RESIGNING: set_term(service, NULL, event->epoch); break;
    case LEASEHOLD_LOST_LEADERSHIP: set_term(service, NULL, 0); break;
    default: break;
    }
}

static void take_events(service *service) {
    leasehold_event event = {.size = sizeof event};
    while (leasehold_next_event(service->node, &event, 0) == LEASEHOLD_OK) {
        handle(service, &event);
    }
}

static bool watch(int loop, int descriptor) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = descriptor};
    return epoll_ctl(loop, EPOLL_CTL_ADD, descriptor, &wanted) == 0;
}

/* Runs until a signal arrives. */
static bool run(service *service, int signals) {
    int events;
    int loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0 || leasehold_descriptor(service->node, &events) != LEASEHOLD_OK ||
        !watch(loop, events) || !watch(loop, signals)) {
        return false;
    }
    for (;;) {
        struct epoll_event ready;
        if (epoll_wait(loop, &ready, 1, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        if (ready.data.fd == signals) {
            close(loop);
            return true;
        }
        take_events(service);
    }
    close(loop);
    return false;
}

static leasehold_node *start(const char *cluster, const char *id, const char *servers) {
    leasehold_config *config = NULL;
    leasehold_node *node = NULL;
    if (leasehold_config_new(cluster, id, servers, &config) != LEASEHOLD_OK ||
        leasehold_config_set_number(config, "election.leaseTtlMs", 3000) != LEASEHOLD_OK ||
        leasehold_config_set_number(config, "election.renewIntervalMs", 700) != LEASEHOLD_OK ||
        leasehold_start(config, NULL, &node) != LEASEHOLD_OK) {
        fprintf(stderr, "%s\n", leasehold_last_error());
    }
    leasehold_config_free(config);
    return node;
}

int main(int argc, char **argv) {
    const char *id = argc > 1 ? argv[1] : "node-1";
    const char *cluster = argc > 2 ? argv[2] : "legacy";
    const char *servers = argc > 3 ? argv[3] : "nats://127.0.0.1:4222";
    service service = {.ledger = argc > 4 ? argv[4] : "ledger"};
    pthread_t workers[WORKERS];
    sigset_t wanted;

    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC);

    service.node = start(cluster, id, servers);
    if (service.node == NULL || signals < 0) {
        return EXIT_FAILURE;
    }
    pthread_mutex_init(&service.lock, NULL);
    pthread_cond_init(&service.changed, NULL);
    for (int i = 0; i < WORKERS; i++) {
        if (pthread_create(&workers[i], NULL, work, &service) != 0) {
            return EXIT_FAILURE;
        }
    }
    bool well = run(&service, signals);

    /* The work ends first. Then the lease is released, and another instance takes over at once. */
    pthread_mutex_lock(&service.lock);
    service.ending = true;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], NULL);
    }
    leasehold_token_free(service.token);
    leasehold_free(service.node);
    close(signals);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
