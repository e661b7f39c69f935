/* leasehold: one leader at a time, over NATS JetStream. C99 or newer, or C++11.
 *
 * Generated from the sources of the library; do not edit.
 *
 * Calls. Any thread may call any function, several at once, and callbacks too, unless its
 * documentation says otherwise. A call keeps no pointer except functions and their user_data. Texts
 * are UTF-8, end with a zero byte, and are copied. A freed handle is LEASEHOLD_E_HANDLE (where
 * pointers have 32 bits, until 32,768 more handles were made); a null pointer is LEASEHOLD_E_NULL.
 * These faults cannot be detected and are undefined: a text without a zero byte, a buffer or struct
 * that is smaller than stated, a callback that throws, and closing a descriptor of this library.
 *
 * Process. In a forked child, leasehold_is_leader and leasehold_token_is_valid return false, and
 * every other call returns LEASEHOLD_E_FORKED: fork before the first call, or exec. The shared
 * library stays loaded: dlclose is allowed, and does not unload it. A plug-in that contains the
 * static library must stay loaded as well (link it with -z nodelete). The library does not change
 * signal handlers; its threads block all signals. When memory runs out, the process is aborted. A
 * call needs 64 KiB of stack, and 512 KiB to read the most deeply nested JSON that is accepted.
 *
 * How a term ends. A node steps down after leasehold_step_down, leasehold_transfer,
 * leasehold_set_healthy with false, and leasehold_stop. From then on leasehold_is_leader is false,
 * and the lease is held until the work has stopped:
 * - with callbacks, until on_lose_leadership has returned;
 * - if the program has ever asked for events, until it has called leasehold_drained with the epoch
 *   of LEASEHOLD_RESIGNING.
 * Then the lease is released, another node takes over, and LEASEHOLD_LOST_LEADERSHIP is queued. If
 * the work has not stopped within the drain timeout (default 10 s), that event has the cause
 * LEASEHOLD_DRAIN_TIMED_OUT, the lease is not released, and other nodes wait until it expires.
 *
 * leasehold_stop waits for callbacks only: the caller must have stopped the work. Events can be
 * taken after it, until leasehold_free, which stops a running node first. When a node loses its
 * term without stepping down, there is only LEASEHOLD_LOST_LEADERSHIP.
 */

#ifndef LEASEHOLD_H
#define LEASEHOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASEHOLD_VERSION "0.1.0"

// The version of the binary interface, with which the library's soname ends. A program that was
// compiled for another number must be compiled again.
#define LEASEHOLD_ABI 1

// The size of any node id with its zero byte.
#define LEASEHOLD_NODE_ID_SIZE 264

// The size of an event's text with its zero byte; a longer text is cut.
#define LEASEHOLD_TEXT_SIZE 512

// The result of a call. Later versions can add codes: treat an unknown one as an error.
typedef enum leasehold_code {
  // The call succeeded.
  LEASEHOLD_OK = 0,
  // There is no result: no event in time, or no known leader. Not an error.
  LEASEHOLD_NOTHING = 1,
  // The node has stopped, and all its events were taken. Not an error.
  LEASEHOLD_CLOSED = 2,
  // The time limit passed first.
  LEASEHOLD_E_TIMED_OUT = 3,
  // A pointer is null that must not be.
  LEASEHOLD_E_NULL = 10,
  // A pointer is not a handle of this kind, or the handle was freed.
  LEASEHOLD_E_HANDLE = 11,
  // A struct's `size` is wrong: set it to `sizeof`.
  LEASEHOLD_E_SIZE = 12,
  // A buffer is too small. The needed length was stored, unless `length` is null.
  LEASEHOLD_E_BUFFER = 13,
  // A text is not UTF-8, or not JSON where JSON is expected.
  LEASEHOLD_E_TEXT = 14,
  // The configuration is invalid; the message names the field and its accepted values.
  LEASEHOLD_E_CONFIG = 15,
  // The call can be made only once, and was made.
  LEASEHOLD_E_ALREADY = 16,
  // The call is not possible within a callback of this library.
  LEASEHOLD_E_IN_CALLBACK = 17,
  // This process was forked from the one that uses the library.
  LEASEHOLD_E_FORKED = 18,
  // The node does not lead, and only the leader can do that. The message names the leader, if
  // one is known.
  LEASEHOLD_E_NOT_LEADER = 20,
  // The node is stepping down: try again after that.
  LEASEHOLD_E_RESIGNING = 21,
  // A node cannot transfer its term to itself.
  LEASEHOLD_E_TO_ITSELF = 22,
  // The node was reported unhealthy.
  LEASEHOLD_E_UNHEALTHY = 23,
  // The node is stopping or has stopped.
  LEASEHOLD_E_STOPPED = 24,
  // No server is reachable, or none answers. A retry may succeed.
  LEASEHOLD_E_UNREACHABLE = 30,
  // A server refused: credentials, TLS, permissions, JetStream, or an unsuitable bucket. A retry
  // does not help: this needs an operator.
  LEASEHOLD_E_SERVER = 31,
  // The virtual IP cannot be used: its interface or a privilege.
  LEASEHOLD_E_VIP = 32,
  // The system has no descriptor, thread or random bits left, or the library no handle.
  LEASEHOLD_E_SYSTEM = 33,
  // A defect of this library; details are on standard error.
  LEASEHOLD_E_PANIC = 99,
} leasehold_code;

// The kind of an event. Later versions can add kinds: ignore an unknown one.
typedef enum leasehold_event_kind {
  // No event: the value in a struct of zeros.
  LEASEHOLD_NO_EVENT = 0,
  // This node leads, in the term `epoch`. Start the leader's work.
  LEASEHOLD_BECAME_LEADER = 1,
  // The node steps down from the term `epoch`; see `reason`. `leasehold_is_leader` is false
  // already, and the lease is still held. Finish the work, then call `leasehold_drained` with
  // this `epoch`. Queued only if the program has asked for events before; otherwise the node
  // does not wait for it.
  LEASEHOLD_RESIGNING = 2,
  // The term `epoch` is over; see `cause`, and `reason` if the node stepped down. Work that is
  // still done for this term is stale.
  LEASEHOLD_LOST_LEADERSHIP = 3,
  // The known leader changed: `node_id`, in the term `epoch`; none if `node_id` is empty.
  LEASEHOLD_LEADER_CHANGED = 4,
  // The node connected to a server.
  LEASEHOLD_CONNECTED = 5,
  // The connection was lost, or the first one failed.
  LEASEHOLD_DISCONNECTED = 6,
  // Another process uses this node's id: give each its own.
  LEASEHOLD_DUPLICATE_NODE_ID = 7,
  // The leader's TTL differs from this node's: `number` milliseconds.
  LEASEHOLD_TTL_MISMATCH = 8,
  // Revision `number` of the record is unreadable.
  LEASEHOLD_CORRUPT_RECORD = 9,
  // The store reported an error; the node retries.
  LEASEHOLD_PROBLEM = 10,
  // `number` events were dropped at this point, because they were not taken in time.
  LEASEHOLD_MISSED = 11,
  // The known leader's JSON value changed; ask `leasehold_leader_meta`.
  LEASEHOLD_META_CHANGED = 12,
  // Something happened to a virtual IP of the node; `text` describes it.
  LEASEHOLD_VIRTUAL_IP = 13,
  // `node_id` is in another bucket of the same name: there are two clusters, and each may have
  // a leader. Told only if `leasehold_serve_health` was called.
  LEASEHOLD_BUCKET_MISMATCH = 14,
  // Not known to this version of the header; `text` describes it.
  LEASEHOLD_OTHER_EVENT = 99,
} leasehold_event_kind;

// Why a term ended. Later versions can add causes.
typedef enum leasehold_cause {
  // No term ended.
  LEASEHOLD_NO_CAUSE = 0,
  // No renewal succeeded in time.
  LEASEHOLD_EXPIRED = 1,
  // Another writer wrote the record: `node_id`, if it holds the lease.
  LEASEHOLD_SUPERSEDED = 2,
  // The record was deleted.
  LEASEHOLD_DELETED = 3,
  // The record was overwritten with something unreadable.
  LEASEHOLD_CORRUPTED = 4,
  // The bucket was deleted or replaced.
  LEASEHOLD_BUCKET_REPLACED = 5,
  // The bucket was restored to an older state.
  LEASEHOLD_STORE_WENT_BACK = 6,
  // The node stepped down; see `reason`.
  LEASEHOLD_RESIGNED = 7,
  // The node stepped down, see `reason`, but `leasehold_drained` was not called in time: the
  // lease expires unreleased.
  LEASEHOLD_DRAIN_TIMED_OUT = 8,
  // Not known to this version of the header; `text` describes it.
  LEASEHOLD_OTHER_CAUSE = 99,
} leasehold_cause;

// Why a leader steps down. Later versions can add reasons.
typedef enum leasehold_reason {
  // It does not step down.
  LEASEHOLD_NO_REASON = 0,
  // `leasehold_step_down`, or an operator.
  LEASEHOLD_STEP_DOWN = 1,
  // A transfer to `node_id`.
  LEASEHOLD_TRANSFER = 2,
  // The node stops.
  LEASEHOLD_STOP = 3,
  // The node was reported unhealthy.
  LEASEHOLD_UNFIT = 4,
  // Not known to this version of the header; `text` describes it.
  LEASEHOLD_OTHER_REASON = 99,
} leasehold_reason;

// The level of a log line.
typedef enum leasehold_level {
  // Something failed.
  LEASEHOLD_ERROR = 1,
  // Something needs attention.
  LEASEHOLD_WARN = 2,
  // Role and connection changes.
  LEASEHOLD_INFO = 3,
  // Details.
  LEASEHOLD_DEBUG = 4,
} leasehold_level;

// A configuration that is being made. Freed with `leasehold_config_free`.
typedef struct leasehold_config leasehold_config;

// A started node. Free it with `leasehold_free`.
typedef struct leasehold_node leasehold_node;

// The right to act as leader of one term. Free it with `leasehold_token_free`.
typedef struct leasehold_token leasehold_token;

// An event of a node. Set `size` to `sizeof` before the call.
typedef struct leasehold_event {
  // `sizeof(leasehold_event)`.
  uint32_t size;
  // The kind of the event.
  enum leasehold_event_kind kind;
  // The epoch of its term, or 0.
  uint64_t epoch;
  // A number that depends on the kind, or 0.
  uint64_t number;
  // Why a term ended.
  enum leasehold_cause cause;
  // Why the node steps down or stepped down.
  enum leasehold_reason reason;
  // The other node of the event, or empty.
  char node_id[LEASEHOLD_NODE_ID_SIZE];
  // One line that describes the event.
  char text[LEASEHOLD_TEXT_SIZE];
} leasehold_event;

// Callbacks of a node, in addition to its event queue or instead of it. Set `size` to `sizeof`.
// Null functions are not called.
//
// One thread of the library calls them, in order, one at a time. A slow callback delays the later
// ones, but no renewal. Callbacks may call every function except `leasehold_stop` and
// `leasehold_free`. They must return: a C++ exception or a `longjmp` out of them is undefined.
typedef struct leasehold_hooks {
  // `sizeof(leasehold_hooks)`.
  uint32_t size;
  // The argument of every callback. The library does not read it.
  void *user_data;
  // This node leads. Start the leader's work, which may go on after the callback returns.
  void (*on_become_leader)(void *user_data, uint64_t epoch);
  // The term is over, or the node steps down; `event` says why, and is valid during the call.
  // Stop the leader's work **before you return**: when the node steps down, the lease is
  // released only then.
  void (*on_lose_leadership)(void *user_data, const struct leasehold_event *event);
  // Any other event. `event` is valid during the call.
  void (*on_event)(void *user_data, const struct leasehold_event *event);
  // The last callback: the library does not use `user_data` any more. Called exactly once. If
  // `leasehold_start` fails, it is called on that thread, but not for `LEASEHOLD_E_SIZE` and
  // `LEASEHOLD_E_FORKED`.
  void (*release)(void *user_data);
} leasehold_hooks;

// The status of a node. Set `size` to `sizeof` before the call.
typedef struct leasehold_status {
  // `sizeof(leasehold_status)`.
  uint32_t size;
  // The node leads.
  bool leads;
  // The node is stepping down.
  bool resigning;
  // The node is connected to a server.
  bool connected;
  // The highest epoch seen; 0 before the first.
  uint64_t epoch;
  // The newest known revision of the record; 0 before the first.
  uint64_t revision;
  // The known leader, or empty.
  char leader[LEASEHOLD_NODE_ID_SIZE];
} leasehold_status;

// Counters since the node's start. Set `size` to `sizeof` before the call.
typedef struct leasehold_stats {
  // `sizeof(leasehold_stats)`.
  uint32_t size;
  // Terms of this node.
  uint64_t terms;
  // Successful renewals.
  uint64_t renewals;
  // Requests that the server refused.
  uint64_t failures;
  // Requests whose outcome was unknown at first.
  uint64_t unknown_outcomes;
  // Writes that lost against another write.
  uint64_t lost_races;
  // Connections after the first.
  uint64_t reconnects;
  // Connections that were given up because the server did not answer.
  uint64_t abandoned_connections;
  // Events that were dropped because they were not taken in time; 0 while the program has not
  // asked for events. Callbacks get `LEASEHOLD_MISSED` for theirs.
  uint64_t events_missed;
  // The round trip of the last answered request, in microseconds.
  uint64_t last_round_trip_us;
  // How long the held lease lasts without another renewal, in milliseconds; 0 without a lease.
  uint64_t remaining_ms;
} leasehold_stats;

// Receives one line, which is valid during the call.
typedef void (*leasehold_log_function)(void *user_data, enum leasehold_level level, const char *line);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, `MAJOR.MINOR.PATCH`. Do not free the text. Never fails.
const char *leasehold_version(void);

// The library's `LEASEHOLD_ABI`. Never fails.
uint32_t leasehold_abi(void);

// The message of the last call on this thread that returned a code other than `LEASEHOLD_OK`: one
// line, without secrets. Empty before the first such call.
//
// The library owns the text, which is valid until the next such call on this thread: copy it to
// keep it. Never fails and never returns null.
const char *leasehold_last_error(void);

// Makes a configuration with all defaults from a cluster id, a node id and server addresses, which
// are separated by commas, and checks it. `*config` is the caller's, to be freed with
// `leasehold_config_free`. Does not block.
enum leasehold_code leasehold_config_new(const char *cluster_id,
                                         const char *node_id,
                                         const char *servers,
                                         struct leasehold_config **config);

// Reads a configuration from a file, and checks it. The guide's page `configuration` has the keys.
// `*config` is the caller's, to be freed with `leasehold_config_free`. Blocks while it reads the
// file, and the file of an nkey.
enum leasehold_code leasehold_config_load(const char *file, struct leasehold_config **config);

// As `leasehold_config_load`, from the text of a file. Blocks only while it reads the file of an
// nkey.
enum leasehold_code leasehold_config_parse(const char *text, struct leasehold_config **config);

// Sets a text by its key in the file, for example `"nats.credentials"`. An empty text means the
// default. An unknown key is refused, and the value is checked, whatever the other settings are.
// `leasehold_config_check` and `leasehold_start` check how settings fit together, and the files
// that they name. A list, as `"nats.servers"` is, is set by `leasehold_config_set_json`. Does not
// block and reads no file.
enum leasehold_code leasehold_config_set_text(struct leasehold_config *config,
                                              const char *key,
                                              const char *value);

// As `leasehold_config_set_text`, for a number, for example `"election.leaseTtlMs"`. The message
// names the range. The range of a timer is the widest that it can have: `leasehold_config_check`
// and `leasehold_start` check what the other timers leave of it. 0 means the default of
// `"election.leaseTtlMs"`, `"election.renewIntervalMs"` and `"vip.netmask"`, as in the file.
enum leasehold_code leasehold_config_set_number(struct leasehold_config *config,
                                                const char *key,
                                                int64_t value);

// As `leasehold_config_set_text`, for a flag, for example `"nats.startDisconnected"`.
enum leasehold_code leasehold_config_set_flag(struct leasehold_config *config,
                                              const char *key,
                                              bool value);

// As `leasehold_config_set_text`, for any value in JSON: `"election.meta"`, `"nats.servers"`,
// which is a list of texts, or a whole section. A section replaces the one before: settings that
// it does not name get their default. So `"nats"` without `servers` is accepted here, and refused
// by `leasehold_config_check` and `leasehold_start`. `null` means the default.
enum leasehold_code leasehold_config_set_json(struct leasehold_config *config,
                                              const char *key,
                                              const char *value);

// Checks a configuration as `leasehold_start` does. Blocks only while it reads the file of an
// nkey.
enum leasehold_code leasehold_config_check(const struct leasehold_config *config);

// Frees a configuration. Nodes that were started with it keep running. Null is ignored.
enum leasehold_code leasehold_config_free(struct leasehold_config *config);

// Starts a node and stores it in `*node`. Free it with `leasehold_free`. The configuration may be
// freed after the call. `hooks` may be null; it is copied. If the configuration has a virtual IP,
// the leader holds it.
//
// Blocks until the bucket was read or found missing, at most for the connect timeout (default
// 5 s); not at all with `nats.startDisconnected`. The file of an nkey is read first.
enum leasehold_code leasehold_start(const struct leasehold_config *config,
                                    const struct leasehold_hooks *hooks,
                                    struct leasehold_node **node);

// Stops a node: releases its lease and ends its threads. The caller must have stopped the work of
// the term before: this waits for callbacks, but not for `leasehold_drained`, which is no longer
// needed for a `LEASEHOLD_RESIGNING` in the queue. `left_to_expire` may be null; it becomes true
// if the lease was not released and other nodes wait until it expires.
//
// Blocks at most for the stop timeout (default 5 s), plus 1 s for a callback that does not return,
// 2 s for a log function or a connection that hangs, and 2 s for the responses of
// `leasehold_serve_health`.
//
// Threads that wait in another call for this node return. Events from before the stop can be taken
// until the node is freed: the end of the term, and up to `election.eventCapacity` + 64 others.
// The descriptor stays open. `LEASEHOLD_E_STOPPED` for a second call, `LEASEHOLD_E_IN_CALLBACK`
// in a callback.
enum leasehold_code leasehold_stop(struct leasehold_node *node, bool *left_to_expire);

// Frees a node. Stops it first, as `leasehold_stop`; if another thread is stopping it, waits for
// that. The handle is invalid at once, also for other threads: later events go to callbacks only.
// Ignores null. `LEASEHOLD_E_IN_CALLBACK` in a callback, without any effect.
//
// The descriptor is closed: remove it from every poll set before. If other threads are in a call
// for this node, those calls return at once, perhaps after this one, and the last of them closes
// the descriptor.
//
// A callback that does not return within a second is not waited for: `user_data` must exist until
// `release` is called.
enum leasehold_code leasehold_free(struct leasehold_node *node);

// Stores a descriptor for `select`, `poll` or `epoll`, level-triggered. It is readable from the
// moment an event is queued until `leasehold_next_event` returns `LEASEHOLD_NOTHING`, or, when the
// node has stopped, `LEASEHOLD_CLOSED`. Take one event for each wake-up, or all.
//
// The node owns it: do not read, write or close it; `leasehold_free` closes it. It is the same in
// every call. It may be readable at first without an event. Does not block. `LEASEHOLD_E_SYSTEM`
// if the process has no descriptor left.
//
// After this call the node waits for the program when it steps down: see `LEASEHOLD_RESIGNING`.
enum leasehold_code leasehold_descriptor(struct leasehold_node *node, int *descriptor);

// Takes the next event; each event goes to one caller. `event->size` must be set. Waits at most
// `timeout_ms`: 0 does not block, and a negative number is no limit.
//
// `LEASEHOLD_NOTHING` if there was no event in time, `LEASEHOLD_CLOSED` if the node has stopped
// and all events were taken. After this call the node waits for the program when it steps down:
// see `LEASEHOLD_RESIGNING`.
enum leasehold_code leasehold_next_event(struct leasehold_node *node,
                                         struct leasehold_event *event,
                                         int64_t timeout_ms);

// Says that the work of the term `epoch` has stopped, as `LEASEHOLD_RESIGNING` asks for, also if
// that event was not taken yet. Then the node releases the lease, and another node takes over.
// A call after the drain timeout is late, not lost: it releases a lease that no other node has
// taken yet. Does nothing for a term from which the node does not step down. Does not block.
enum leasehold_code leasehold_drained(struct leasehold_node *node, uint64_t epoch);

// Whether the node leads now: a comparison of the clock with the term's deadline. False for an
// invalid handle, and in a forked child. Never blocks, takes no lock and makes no system call; a
// signal handler may call it.
bool leasehold_is_leader(const struct leasehold_node *node);

// The highest epoch that the node has seen, of any leader. For fencing, use the epoch of a token
// or of `LEASEHOLD_BECAME_LEADER` instead. 0 before the first, and for an invalid handle. Does not
// block.
uint64_t leasehold_epoch(const struct leasehold_node *node);

// Stores the leader's node id with a zero byte in `buffer`, which has `size` bytes:
// `LEASEHOLD_NODE_ID_SIZE` is always enough. Its length without the zero byte is stored in
// `*length`, unless `length` is null. `LEASEHOLD_NOTHING` if no leader is known;
// `LEASEHOLD_E_BUFFER` if the buffer is too small. Does not block.
enum leasehold_code leasehold_leader(const struct leasehold_node *node,
                                     char *buffer,
                                     size_t size,
                                     size_t *length);

// Waits until a leader is known, for at most `timeout_ms`; a negative number is no limit.
// `LEASEHOLD_E_TIMED_OUT`, `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_wait_for_leader(const struct leasehold_node *node,
                                              int64_t timeout_ms);

// Waits until this node leads. As `leasehold_wait_for_leader`.
enum leasehold_code leasehold_wait_for_leadership(const struct leasehold_node *node,
                                                  int64_t timeout_ms);

// Makes the node step down. When this returns, `leasehold_is_leader` is false. The lease is
// released after the work has drained, and the node does not challenge during its cooldown
// (default: the TTL). Blocks until the node's thread has taken the command, at most 5 s:
// after `LEASEHOLD_E_TIMED_OUT` it may still step down. `LEASEHOLD_E_NOT_LEADER`,
// `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_step_down(struct leasehold_node *node);

// As `leasehold_step_down`, and the node `node_id` takes over. `LEASEHOLD_E_TO_ITSELF`;
// `LEASEHOLD_E_CONFIG` for an invalid node id.
enum leasehold_code leasehold_transfer(struct leasehold_node *node, const char *node_id);

// Ends the cooldown: the node takes part in the election again. Blocks until the node's thread has
// taken the command. `LEASEHOLD_E_RESIGNING`, `LEASEHOLD_E_UNHEALTHY`, `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_promote(struct leasehold_node *node);

// Sets whether the node is healthy, which it is at first. An unhealthy node does not challenge,
// and steps down if it leads. Blocks until the node's thread has taken the command.
// `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_set_healthy(struct leasehold_node *node, bool healthy);

// Sets a JSON value that this node puts into the record when it leads, such as an address; at most
// 4096 bytes, and `null` for no value. Blocks until the node's thread has taken the command.
// `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_set_meta(struct leasehold_node *node, const char *json);

// Stores the JSON value of the newest record. As `leasehold_leader`; `LEASEHOLD_NOTHING` if there
// is no value.
enum leasehold_code leasehold_leader_meta(const struct leasehold_node *node,
                                          char *buffer,
                                          size_t size,
                                          size_t *length);

// Answers health queries for this node on `cluster.<cluster>.health.<node>` until the node stops.
// The responses come from a thread and a connection of their own, also while the node's thread
// hangs. A second call does nothing. Does not wait for the connection.
enum leasehold_code leasehold_serve_health(struct leasehold_node *node);

// Stores a token of the current term in `*token`. Free it with `leasehold_token_free`; it may
// exist longer than the node. `LEASEHOLD_E_NOT_LEADER` if the node does not lead. Does not block.
enum leasehold_code leasehold_token_acquire(const struct leasehold_node *node,
                                            struct leasehold_token **token);

// Whether the token's term is in force now. Once false, it stays false. False for an invalid
// handle, and in a forked child. Never blocks, takes no lock and makes no system call; a signal
// handler may call it.
bool leasehold_token_is_valid(const struct leasehold_token *token);

// The epoch of the term, as fencing token: send it with every effect. 0 for an invalid handle.
// Does not block.
uint64_t leasehold_token_epoch(const struct leasehold_token *token);

// How long the term lasts without another renewal, in milliseconds, rounded down. 0 when it has
// ended, and for an invalid handle. Does not block.
uint64_t leasehold_token_remaining_ms(const struct leasehold_token *token);

// Stores the session of the term, 32 hexadecimal digits, for resources that check it in addition
// to the epoch. `buffer`, `size` and `length` as for `leasehold_leader`. Does not block.
enum leasehold_code leasehold_token_session(const struct leasehold_token *token,
                                            char *buffer,
                                            size_t size,
                                            size_t *length);

// Frees a token. Ignores null. Does not block.
enum leasehold_code leasehold_token_free(struct leasehold_token *token);

// Stores the status. `status->size` must be set. Does not block.
enum leasehold_code leasehold_get_status(const struct leasehold_node *node,
                                         struct leasehold_status *status);

// Stores the counters. `stats->size` must be set. Does not block.
enum leasehold_code leasehold_get_stats(const struct leasehold_node *node,
                                        struct leasehold_stats *stats);

// Stores the status and the counters in the text format of Prometheus, about 8 KiB. `buffer`,
// `size` and `length` as for `leasehold_leader`. Does not block.
enum leasehold_code leasehold_metrics(const struct leasehold_node *node,
                                      char *buffer,
                                      size_t size,
                                      size_t *length);

// Sends the library's log to a function, up to a level (`LEASEHOLD_INFO` is 3), until the process
// ends. Without this call nothing is logged. `LEASEHOLD_E_ALREADY` for a second call.
//
// Any thread of the library calls the function, several at once. Renewals wait for it: it must not
// block, and must not call this library. It and `user_data` must exist until the process ends.
// Does not block.
enum leasehold_code leasehold_log(uint32_t level, leasehold_log_function write, void *user_data);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEASEHOLD_H */
