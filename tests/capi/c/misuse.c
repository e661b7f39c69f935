/* Every misuse returns a code and does not crash. */
#include "check.h"
#include <sys/stat.h>

static leasehold_config *config;
static leasehold_node *node;
static leasehold_token *token;

/* Every pointer that must not be null, passed as null. */
static void null_pointers(void) {
    char text[8];
    size_t length;
    int descriptor;
    leasehold_config *made;
    IS(LEASEHOLD_E_NULL, leasehold_config_new(NULL, "a", "b", &made));
    IS(LEASEHOLD_E_NULL, leasehold_config_new("a", NULL, "b", &made));
    IS(LEASEHOLD_E_NULL, leasehold_config_new("a", "b", NULL, &made));
    IS(LEASEHOLD_E_NULL, leasehold_config_new("a", "b", "c", NULL));
    IS(LEASEHOLD_E_NULL, leasehold_config_load(NULL, &made));
    IS(LEASEHOLD_E_NULL, leasehold_config_load("/dev/null", NULL));
    IS(LEASEHOLD_E_NULL, leasehold_config_parse(NULL, &made));
    IS(LEASEHOLD_E_NULL, leasehold_config_parse("{}", NULL));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_text(NULL, "nodeId", "a"));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_text(config, NULL, "a"));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_text(config, "nodeId", NULL));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_number(NULL, "a", 1));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_number(config, NULL, 1));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_flag(NULL, "a", true));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_flag(config, NULL, true));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_json(NULL, "a", "1"));
    IS(LEASEHOLD_E_NULL, leasehold_config_set_json(config, "election.meta", NULL));
    IS(LEASEHOLD_E_NULL, leasehold_config_check(NULL));
    OK(leasehold_config_free(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_start(NULL, NULL, &node));
    IS(LEASEHOLD_E_NULL, leasehold_start(config, NULL, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_stop(NULL, NULL));
    OK(leasehold_free(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_descriptor(NULL, &descriptor));
    IS(LEASEHOLD_E_NULL, leasehold_descriptor(node, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_next_event(NULL, &(leasehold_event){.size = 808}, 0));
    IS(LEASEHOLD_E_NULL, leasehold_next_event(node, NULL, 0));
    IS(LEASEHOLD_E_NULL, leasehold_drained(NULL, 1));
    CHECK(!leasehold_is_leader(NULL) && leasehold_epoch(NULL) == 0);
    IS(LEASEHOLD_E_NULL, leasehold_leader(NULL, text, sizeof text, &length));
    IS(LEASEHOLD_E_NULL, leasehold_wait_for_leader(NULL, -1));
    IS(LEASEHOLD_E_NULL, leasehold_wait_for_leadership(NULL, -1));
    IS(LEASEHOLD_E_NULL, leasehold_step_down(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_transfer(NULL, "a"));
    IS(LEASEHOLD_E_NULL, leasehold_transfer(node, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_promote(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_set_healthy(NULL, true));
    IS(LEASEHOLD_E_NULL, leasehold_set_meta(NULL, "1"));
    IS(LEASEHOLD_E_NULL, leasehold_set_meta(node, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_leader_meta(NULL, text, sizeof text, &length));
    IS(LEASEHOLD_E_NULL, leasehold_serve_health(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_token_acquire(NULL, &token));
    IS(LEASEHOLD_E_NULL, leasehold_token_acquire(node, NULL));
    CHECK(!leasehold_token_is_valid(NULL) && leasehold_token_epoch(NULL) == 0);
    CHECK(leasehold_token_remaining_ms(NULL) == 0);
    IS(LEASEHOLD_E_NULL, leasehold_token_session(NULL, text, sizeof text, &length));
    OK(leasehold_token_free(NULL));
    IS(LEASEHOLD_E_NULL, leasehold_get_status(NULL, &(leasehold_status){.size = 288}));
    IS(LEASEHOLD_E_NULL, leasehold_get_status(node, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_get_stats(NULL, &(leasehold_stats){.size = 88}));
    IS(LEASEHOLD_E_NULL, leasehold_get_stats(node, NULL));
    IS(LEASEHOLD_E_NULL, leasehold_metrics(NULL, text, sizeof text, &length));
    IS(LEASEHOLD_E_NULL, leasehold_log(3, NULL, NULL));
    IS(LEASEHOLD_E_BUFFER, leasehold_leader(node, NULL, 1 << 20, NULL));
    IS(LEASEHOLD_E_BUFFER, leasehold_leader(node, text, 0, NULL));
}

/* A pointer that is not a node: freed, forged, or of another kind. */
static void no_node(void *bad) {
    char text[8];
    int descriptor;
    leasehold_token *term = NULL;
    leasehold_event event = {.size = sizeof event};
    leasehold_status status = {.size = sizeof status};
    leasehold_stats stats = {.size = sizeof stats};
    IS(LEASEHOLD_E_HANDLE, leasehold_stop(bad, NULL));
    IS(LEASEHOLD_E_HANDLE, leasehold_free(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_descriptor(bad, &descriptor));
    IS(LEASEHOLD_E_HANDLE, leasehold_next_event(bad, &event, -1));
    IS(LEASEHOLD_E_HANDLE, leasehold_drained(bad, 1));
    CHECK(!leasehold_is_leader(bad) && leasehold_epoch(bad) == 0);
    IS(LEASEHOLD_E_HANDLE, leasehold_leader(bad, text, sizeof text, NULL));
    IS(LEASEHOLD_E_HANDLE, leasehold_wait_for_leader(bad, -1));
    IS(LEASEHOLD_E_HANDLE, leasehold_wait_for_leadership(bad, -1));
    IS(LEASEHOLD_E_HANDLE, leasehold_step_down(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_transfer(bad, "a"));
    IS(LEASEHOLD_E_HANDLE, leasehold_promote(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_set_healthy(bad, false));
    IS(LEASEHOLD_E_HANDLE, leasehold_set_meta(bad, "1"));
    IS(LEASEHOLD_E_HANDLE, leasehold_leader_meta(bad, text, sizeof text, NULL));
    IS(LEASEHOLD_E_HANDLE, leasehold_serve_health(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_token_acquire(bad, &term));
    IS(LEASEHOLD_E_HANDLE, leasehold_get_status(bad, &status));
    IS(LEASEHOLD_E_HANDLE, leasehold_get_stats(bad, &stats));
    IS(LEASEHOLD_E_HANDLE, leasehold_metrics(bad, text, sizeof text, NULL));
    CHECK(term == NULL);
}

static void no_config(void *bad) {
    leasehold_node *made = NULL;
    IS(LEASEHOLD_E_HANDLE, leasehold_config_set_text(bad, "nodeId", "a"));
    IS(LEASEHOLD_E_HANDLE, leasehold_config_set_number(bad, "nodeId", 1));
    IS(LEASEHOLD_E_HANDLE, leasehold_config_set_flag(bad, "nodeId", true));
    IS(LEASEHOLD_E_HANDLE, leasehold_config_set_json(bad, "nodeId", "1"));
    IS(LEASEHOLD_E_HANDLE, leasehold_config_check(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_config_free(bad));
    IS(LEASEHOLD_E_HANDLE, leasehold_start(bad, NULL, &made));
    CHECK(made == NULL);
}

static void no_token(void *bad) {
    char text[64];
    CHECK(!leasehold_token_is_valid(bad) && leasehold_token_epoch(bad) == 0);
    CHECK(leasehold_token_remaining_ms(bad) == 0);
    IS(LEASEHOLD_E_HANDLE, leasehold_token_session(bad, text, sizeof text, NULL));
    IS(LEASEHOLD_E_HANDLE, leasehold_token_free(bad));
}

static void wrong_handles(void) {
    uint64_t number = 88172645463325252;
    no_node(config), no_node(token), no_node(&number), no_node((void *)-1);
    no_config(node), no_config(token), no_config(stdout);
    no_token(config), no_token(node), no_token((void *)7);
    for (int i = 0; i < 2000; i++) {
        number ^= number << 13, number ^= number >> 7, number ^= number << 17;
        no_node((void *)(uintptr_t)number);
        no_config((void *)(uintptr_t)(number & 0x1ffff));
        no_token((void *)(uintptr_t)((uint64_t)(uintptr_t)token ^ (1ull << (number % 63 + 1))));
    }
}

/* Structs of a later version, and of wrong sizes. */
static void wrong_sizes(void) {
    struct {
        leasehold_status known;
        char later[64];
    } future;
    memset(&future, 0xff, sizeof future);
    future.known.size = sizeof future;
    OK(leasehold_get_status(node, &future.known));
    CHECK(future.known.size == sizeof future && future.known.leads);
    for (size_t i = 0; i < sizeof future.later; i++) {
        CHECK(future.later[i] == 0);
    }
    const uint32_t sizes[] = {0, 1, 4, 7, 87, 1 << 20, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        leasehold_event event = {.size = sizes[i]};
        leasehold_status status = {.size = sizes[i]};
        leasehold_stats stats = {.size = sizes[i]};
        leasehold_hooks hooks = {.size = sizes[i]};
        leasehold_node *made = NULL;
        IS(LEASEHOLD_E_SIZE, leasehold_next_event(node, &event, 0));
        IS(LEASEHOLD_E_SIZE, leasehold_get_status(node, &status));
        IS(LEASEHOLD_E_SIZE, leasehold_get_stats(node, &stats));
        hooks.size = sizes[i] == 87 ? sizeof hooks - 1 : sizes[i];
        IS(LEASEHOLD_E_SIZE, leasehold_start(config, &hooks, &made));
        CHECK(made == NULL && event.size == sizes[i]);
    }
}

/* Unaligned structs, as in a program that packs them. */
static void odd_addresses(void) {
    char room[2000], name[32];
    memset(room, 0, sizeof room);
    void *odd = (void *)((uintptr_t)room | 1);
    const uint32_t sizes[] = {sizeof(leasehold_status), sizeof(leasehold_stats),
                              sizeof(leasehold_event), sizeof(leasehold_hooks)};
    memcpy(odd, &sizes[0], 4);
    OK(leasehold_get_status(node, odd));
    memcpy(odd, &sizes[1], 4);
    OK(leasehold_get_stats(node, odd));
    memcpy(odd, &sizes[2], 4);
    leasehold_code code = leasehold_next_event(node, odd, 0);
    CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_NOTHING);
    memset(room, 0, sizeof room);
    memcpy(odd, &sizes[3], 4);
    IS(LEASEHOLD_E_NULL, leasehold_start(config, odd, NULL));
    OK(leasehold_leader(node, name, sizeof name, odd));
    OK(leasehold_descriptor(node, odd));
    OK(leasehold_token_acquire(node, odd));
    leasehold_token *term;
    memcpy(&term, odd, sizeof term);
    CHECK(leasehold_token_is_valid(term));
    OK(leasehold_token_free(term));
}

static void odd_times(void) {
    leasehold_event event = {.size = sizeof event};
    while (leasehold_next_event(node, &event, 0) == LEASEHOLD_OK) {
    }
    OK(leasehold_wait_for_leadership(node, INT64_MIN));
    OK(leasehold_wait_for_leadership(node, INT64_MAX));
    OK(leasehold_wait_for_leader(node, INT64_MAX));
    IS(LEASEHOLD_NOTHING, leasehold_next_event(node, &event, 1));
    OK(leasehold_drained(node, UINT64_MAX));
}

static void wrong_number(const char *key, int64_t number, const char *range) {
    char expected[200];
    snprintf(expected, sizeof expected, "%s: expected %s, found %" PRId64, key, range, number);
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_number(config, key, number));
    if (strcmp(leasehold_last_error(), expected) != 0) {
        fprintf(stderr, "expected: %s\n", expected);
        failed(__FILE__, __LINE__, key);
    }
}

/* The message names the field and its range, also while other fields conflict. */
static void wrong_numbers(void) {
    wrong_number("election.leaseTtlMs", -1, "milliseconds (103 to 3600000)");
    wrong_number("election.leaseTtlMs", 100, "milliseconds (103 to 3600000)");
    wrong_number("election.leaseTtlMs", INT64_MAX, "milliseconds (103 to 3600000)");
    wrong_number("election.renewIntervalMs", 39, "milliseconds (40 to 3528652)");
    wrong_number("election.requestTimeoutMs", INT64_MIN, "milliseconds (20 to 705742)");
    wrong_number("election.clockDriftPercent", 51, "percent (1 to 50)");
    wrong_number("election.cooldownMs", 86400001, "milliseconds (0 to 86400000)");
    wrong_number("election.eventCapacity", 15, "a number of events (16 to 65536)");
    wrong_number("nats.connectTimeoutMs", 0, "milliseconds (100 to 300000)");
    wrong_number("nats.replicas", 2, "a number of replicas (1, 3 or 5)");
    wrong_number("vip.netmask", 129,
                 "a prefix length in bits (0 to 32 for IPv4, 0 to 128 for IPv6)");
}

static void wrong_section(const char *key, const char *json, const char *field) {
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_json(config, key, json));
    CHECK(strncmp(leasehold_last_error(), field, strlen(field)) == 0);
}

/* The same within a section. */
static void wrong_sections(void) {
    wrong_section("election", "{\"leaseTtlMs\": 50}", "election.leaseTtlMs: expected");
    wrong_section("election", "{\"renewIntervalMs\": 39}", "election.renewIntervalMs: expected");
    wrong_section("election", "{\"requestTimeoutMs\": 19}", "election.requestTimeoutMs: expected");
    wrong_section("election", "{\"clockDriftPercent\": 51}", "election.clockDriftPercent: ");
    wrong_section("election", "{\"eventCapacity\": 1}", "election.eventCapacity: expected");
    wrong_section("nats", "{\"replicas\": 2}", "nats.replicas: expected");
    wrong_section("vip", "{\"netmask\": 129}", "vip.netmask: expected");
    /* The default, as in the file. */
    leasehold_config *other = configured("misuse", "zeros", "localhost");
    OK(leasehold_config_set_json(other, "election", "{\"leaseTtlMs\": 0}"));
    OK(leasehold_config_set_number(other, "election.renewIntervalMs", 0));
    OK(leasehold_config_check(other));
    OK(leasehold_config_free(other));
}

/* Setters read no file, not even a pipe without a writer; a check does, and names the field. */
static void named_files(void) {
    char folder[] = "/tmp/leasehold-XXXXXX", pipe[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    CHECK(mkfifo(pipe, 0600) == 0);
    leasehold_config *other = configured("misuse", "files", "localhost");
    OK(leasehold_config_set_text(other, "nats.nkeyFile", pipe));
    OK(leasehold_config_set_number(other, "election.cooldownMs", 1));
    CHECK(unlink(pipe) == 0 && rmdir(folder) == 0);
    OK(leasehold_config_set_number(other, "election.cooldownMs", 2));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_check(other));
    CHECK(strncmp(leasehold_last_error(), "nats.nkeyFile ", 14) == 0);
    CHECK(strstr(leasehold_last_error(), pipe) != NULL);
    OK(leasehold_config_set_json(other, "nats.nkeyFile", "null"));
    OK(leasehold_config_set_text(other, "nats.credentials", pipe));
    OK(leasehold_config_set_text(other, "nats.tls.ca", pipe));
    OK(leasehold_config_check(other));
    OK(leasehold_config_free(other));
}

/* Texts: too long, too deep, not UTF-8, of the wrong kind. */
static void wrong_texts(void) {
    leasehold_config *made = NULL;
    const char *bad = "\xff\xfe";
    IS(LEASEHOLD_E_TEXT, leasehold_config_new(bad, "a", "b", &made));
    IS(LEASEHOLD_E_TEXT, leasehold_config_set_text(config, bad, "a"));
    IS(LEASEHOLD_E_TEXT, leasehold_config_set_json(config, "election.meta", "{'a'}"));
    IS(LEASEHOLD_E_TEXT, leasehold_transfer(node, bad));
    IS(LEASEHOLD_E_CONFIG, leasehold_transfer(node, "a b"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_new("", "a", "b", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_new("a", "b", "http://c", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_load("/nonexistent", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_load("/", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_parse("[]", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_parse("", &made));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, "", "a"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, "no.such", "a"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, "nodeId.a", "a"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, "election.leaseTtlMs", "a"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_number(config, "election.leaseTtlMs", -1));
    OK(leasehold_config_set_number(config, "election.leaseTtlMs", 110));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_check(config));
    wrong_numbers();
    wrong_sections();
    OK(leasehold_config_set_number(config, "election.leaseTtlMs", TTL_MS));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_json(config, "election", "{\"eventCapacity\": 1}"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_flag(config, "election", true));
    CHECK(made == NULL);

    enum { LONG = 1 << 20 };
    char *text = malloc(LONG + 1);
    for (int i = 0; i < LONG; i++) {
        text[i] = i % 2 ? '.' : 'a';
    }
    text[LONG] = '\0';
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, text, "a"));
    IS(LEASEHOLD_E_CONFIG, leasehold_config_set_text(config, "nodeId", text));
    IS(LEASEHOLD_E_CONFIG, leasehold_transfer(node, text));
    memset(text, '[', LONG);
    IS(LEASEHOLD_E_CONFIG, leasehold_config_parse(text, &made));
    IS(LEASEHOLD_E_TEXT, leasehold_config_set_json(config, "election.meta", text));
    IS(LEASEHOLD_E_TEXT, leasehold_set_meta(node, text));
    memset(text, '1', LONG);
    leasehold_code code = leasehold_set_meta(node, text);
    CHECK(code == LEASEHOLD_E_TEXT || code == LEASEHOLD_E_CONFIG);
    free(text);
    OK(leasehold_config_check(config));
}

/* JSON at the limit of depth, and the record around it, which is a little deeper. */
static void deep_values(void) {
    char text[260], back[260];
    int refused = 0;
    for (int depth = 100; depth <= 130; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        leasehold_code code = leasehold_config_set_json(config, "election.meta", text);
        CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_E_TEXT || code == LEASEHOLD_E_CONFIG);
        OK(leasehold_config_check(config));
        code = leasehold_set_meta(node, text);
        refused += code != LEASEHOLD_OK;
        CHECK(code == LEASEHOLD_OK || code == LEASEHOLD_E_TEXT || code == LEASEHOLD_E_CONFIG);
        if (code == LEASEHOLD_OK) {
            EVENTUALLY(leasehold_leader_meta(node, back, sizeof back, NULL) == LEASEHOLD_OK &&
                       strcmp(back, text) == 0);
        }
    }
    CHECK(refused > 0);
    OK(leasehold_config_set_json(config, "election.meta", "null"));
    OK(leasehold_set_meta(node, "null"));
    CHECK(leasehold_is_leader(node));
}

/* An interface and a server that do not exist. */
static void no_such_interface_or_server(void) {
    leasehold_node *made = NULL;
    OK(leasehold_config_set_text(config, "vip.address", "192.0.2.1"));
    OK(leasehold_config_set_text(config, "vip.interface", "nosuch0"));
    OK(leasehold_config_set_text(config, "nodeId", "other"));
    /* Too short for a kernel that counts in seconds. */
    OK(leasehold_config_set_number(config, "election.leaseTtlMs", 5000));
    IS(LEASEHOLD_E_CONFIG, leasehold_start(config, NULL, &made));
    CHECK(strncmp(leasehold_last_error(), "election.leaseTtlMs: ", 21) == 0);
    OK(leasehold_config_set_json(config, "vip", "null"));
    OK(leasehold_config_set_json(config, "nats.servers", "[\"nats://127.0.0.1:1\"]"));
    OK(leasehold_config_set_number(config, "nats.connectTimeoutMs", 500));
    IS(LEASEHOLD_E_UNREACHABLE, leasehold_start(config, NULL, &made));
    CHECK(made == NULL && strchr(leasehold_last_error(), '\n') == NULL);
}

/* Makes more handles than there are, and frees them. */
static void too_many(void) {
    enum { MANY = 20000 };
    static leasehold_token *tokens[MANY];
    int made = 0;
    while (made < MANY && leasehold_token_acquire(node, &tokens[made]) == LEASEHOLD_OK) {
        made++;
    }
    IS(LEASEHOLD_E_SYSTEM, leasehold_token_acquire(node, &tokens[made]));
    leasehold_node *other = NULL;
    OK(leasehold_config_set_text(config, "nodeId", "another"));
    IS(LEASEHOLD_E_SYSTEM, leasehold_start(config, NULL, &other));
    CHECK(other == NULL && made > 1000);
    while (made > 0) {
        CHECK(leasehold_token_is_valid(tokens[made - 1]));
        OK(leasehold_token_free(tokens[--made]));
        CHECK(!leasehold_token_is_valid(tokens[made]));
    }
    OK(leasehold_token_acquire(node, &tokens[0]));
    OK(leasehold_token_free(tokens[0]));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(strcmp(leasehold_version(), LEASEHOLD_VERSION) == 0);
    CHECK(leasehold_abi() == LEASEHOLD_ABI && leasehold_last_error()[0] == '\0');
    config = configured("misuse", "misuser", argv[1]);
    node = leading("misuse", "misuser", argv[1]);
    OK(leasehold_token_acquire(node, &token));
    null_pointers();
    wrong_handles();
    wrong_sizes();
    odd_addresses();
    odd_times();
    wrong_texts();
    named_files();
    deep_values();
    too_many();
    no_such_interface_or_server();
    CHECK(leasehold_is_leader(node) && leasehold_token_is_valid(token));

    OK(leasehold_token_free(token));
    no_token(token);
    OK(leasehold_config_free(config));
    no_config(config);
    OK(leasehold_free(node));
    no_node(node);
    puts("done");
    return 0;
}
