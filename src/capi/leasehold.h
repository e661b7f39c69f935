/* leasehold: one leader at a time, over NATS JetStream. C99 or newer, or C++11.
 *
 * Generated from the sources of the library; do not edit.
 *
 * Every function may be called from any thread, also from several at once, and from callbacks
 * except where it says otherwise; it keeps no pointer beyond the call except functions and their
 * user_data; texts are UTF-8, end with a zero byte and are copied. A handle that was freed is
 * LEASEHOLD_E_HANDLE (where pointers have 32 bits, until 32,768 more were made), a null pointer
 * LEASEHOLD_E_NULL. Undefined is what cannot be checked: a text without a zero byte, a buffer or
 * struct smaller than it is said to be, callbacks that throw, and a descriptor of this library
 * that somebody else closes.
 *
 * In a forked child nothing leads, and every call but leasehold_is_leader and
 * leasehold_token_is_valid, which are false there, is LEASEHOLD_E_FORKED: fork before the first
 * call, or exec. Once loaded, the shared library stays: dlclose is allowed, and unloads nothing. A
 * plug-in that has the static library in it has to stay as well (link it with -z nodelete). No
 * function touches signal handlers; the library's threads block all signals. When memory runs out
 * the process is aborted. A call needs 64 KiB of stack, and 512 KiB to read JSON that is nested as
 * deeply as it may be.
 *
 * How a term ends. leasehold_step_down, leasehold_transfer, leasehold_set_healthy with false, and
 * leasehold_stop give it back. From then on leasehold_is_leader is false, and the lease is held
 * until the work has stopped: until on_lose_leadership has returned, where there is one, and until
 * leasehold_drained was called with the term's epoch, where somebody has ever asked for events, who
 * finds LEASEHOLD_RESIGNING among them. Then the lease is released, another node takes over, and
 * LEASEHOLD_LOST_LEADERSHIP is queued. When the work has not stopped within the drain timeout
 * (default 10 s), that is queued without a release, with LEASEHOLD_DRAIN_TIMED_OUT, and others wait
 * for the TTL. leasehold_stop waits for callbacks only: whoever calls it has stopped the work. All
 * that happened can be taken after it, until leasehold_free, which stops first what was not. A term
 * that is not given back, but lost, has LEASEHOLD_LOST_LEADERSHIP only.
 */

#ifndef LEASEHOLD_H
#define LEASEHOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASEHOLD_VERSION "0.1.0"

// Raised when a program that was compiled for an earlier number must be compiled anew; the
// library's soname ends with it.
#define LEASEHOLD_ABI 1

// Room for a node id of any record, with its zero byte.
#define LEASEHOLD_NODE_ID_SIZE 264

// Room for the line about an event, with its zero byte; what is longer is cut.
#define LEASEHOLD_TEXT_SIZE 512

// How a call ended. Further codes may be added: treat an unknown one as an error.
typedef enum leasehold_code {
  // It did what it says.
  LEASEHOLD_OK = 0,
  // There is nothing: no event in time, no leader known. Not an error.
  LEASEHOLD_NOTHING = 1,
  // The node has stopped, and there will be no more events. Not an error.
  LEASEHOLD_CLOSED = 2,
  // It did not happen in time.
  LEASEHOLD_E_TIMED_OUT = 3,
  // A pointer that must not be null is.
  LEASEHOLD_E_NULL = 10,
  // A handle that was freed, or is none, or one of another kind.
  LEASEHOLD_E_HANDLE = 11,
  // A struct's `size` is none that this library knows: set it to `sizeof`.
  LEASEHOLD_E_SIZE = 12,
  // A buffer is too small. The length that is needed was stored, where it was asked for.
  LEASEHOLD_E_BUFFER = 13,
  // A text is not UTF-8, or not JSON where that is asked for.
  LEASEHOLD_E_TEXT = 14,
  // The configuration is not accepted; the message names the field and what would be accepted.
  LEASEHOLD_E_CONFIG = 15,
  // Something can be done only once, and was done.
  LEASEHOLD_E_ALREADY = 16,
  // Not possible within a callback of this library.
  LEASEHOLD_E_IN_CALLBACK = 17,
  // This process was forked from the one that uses the library.
  LEASEHOLD_E_FORKED = 18,
  // Only the leader can do that; the message names the leader, if one is known.
  LEASEHOLD_E_NOT_LEADER = 20,
  // The node is giving its term back: try again when that is done.
  LEASEHOLD_E_RESIGNING = 21,
  // A term cannot be transferred to the node that holds it.
  LEASEHOLD_E_TO_ITSELF = 22,
  // The node was reported unfit to lead.
  LEASEHOLD_E_UNHEALTHY = 23,
  // The node is stopping or has stopped.
  LEASEHOLD_E_STOPPED = 24,
  // No server can be reached, or none answers. Trying again may help.
  LEASEHOLD_E_UNREACHABLE = 30,
  // A server refused: credentials, TLS, permissions, JetStream, or an unsuitable bucket. For a
  // person to put right.
  LEASEHOLD_E_SERVER = 31,
  // The virtual IP cannot be held: its interface or a privilege.
  LEASEHOLD_E_VIP = 32,
  // The system gave no descriptor, thread, handle or random bits.
  LEASEHOLD_E_SYSTEM = 33,
  // A defect of this library.
  LEASEHOLD_E_PANIC = 99,
} leasehold_code;

// What happened. Further kinds may be added: ignore an unknown one.
typedef enum leasehold_event_kind {
  // None: what a struct of zeros says.
  LEASEHOLD_NO_EVENT = 0,
  // This node leads, under `epoch`. Start what the leader does.
  LEASEHOLD_BECAME_LEADER = 1,
  // The term `epoch` is to be given back: `leasehold_is_leader` is false already, the lease is
  // still held. Finish what is under way, then call `leasehold_drained` with this `epoch`. See
  // `reason`. Queued only when somebody has asked for events before; who has not is not waited
  // for.
  LEASEHOLD_RESIGNING = 2,
  // The term `epoch` is over. Whatever is still done under it is stale. See `cause`, and
  // `reason` where it was given back.
  LEASEHOLD_LOST_LEADERSHIP = 3,
  // Another leader is known: `node_id`, under `epoch`; or none, when `node_id` is empty.
  LEASEHOLD_LEADER_CHANGED = 4,
  // There is a connection.
  LEASEHOLD_CONNECTED = 5,
  // The connection went away, or a first one could not be made.
  LEASEHOLD_DISCONNECTED = 6,
  // Another process uses this node's id. Give it one of its own.
  LEASEHOLD_DUPLICATE_NODE_ID = 7,
  // The cluster's record has another TTL than this node: `number` milliseconds.
  LEASEHOLD_TTL_MISMATCH = 8,
  // The record, revision `number`, was overwritten with something that is none.
  LEASEHOLD_CORRUPT_RECORD = 9,
  // The store complains; it is tried again.
  LEASEHOLD_PROBLEM = 10,
  // `number` events were dropped here, as nobody took them.
  LEASEHOLD_MISSED = 11,
  // Something that this version has no name for; `text` says it.
  LEASEHOLD_OTHER_EVENT = 99,
} leasehold_event_kind;

// Why a term ended. Further causes may be added.
typedef enum leasehold_cause {
  // None: the event is of another kind.
  LEASEHOLD_NO_CAUSE = 0,
  // No renewal succeeded in time.
  LEASEHOLD_EXPIRED = 1,
  // Somebody else wrote the record: `node_id`, if it is a holder.
  LEASEHOLD_SUPERSEDED = 2,
  // The record was deleted.
  LEASEHOLD_DELETED = 3,
  // The record was overwritten with something unreadable.
  LEASEHOLD_CORRUPTED = 4,
  // The bucket was deleted or replaced.
  LEASEHOLD_BUCKET_REPLACED = 5,
  // The bucket went back to an older state.
  LEASEHOLD_STORE_WENT_BACK = 6,
  // It was given back, see `reason`.
  LEASEHOLD_RESIGNED = 7,
  // It was to be given back, see `reason`, but `leasehold_drained` did not come in time: the
  // lease lapses.
  LEASEHOLD_DRAIN_TIMED_OUT = 8,
  // Something that this version has no name for; `text` says it.
  LEASEHOLD_OTHER_CAUSE = 99,
} leasehold_cause;

// Why a leader gives its term back. Further reasons may be added.
typedef enum leasehold_reason {
  // None: it does not.
  LEASEHOLD_NO_REASON = 0,
  // It was asked to step down.
  LEASEHOLD_STEP_DOWN = 1,
  // It was asked to hand over to `node_id`.
  LEASEHOLD_TRANSFER = 2,
  // The node is to stop.
  LEASEHOLD_STOP = 3,
  // The application reported itself unfit.
  LEASEHOLD_UNFIT = 4,
  // Something that this version has no name for; `text` says it.
  LEASEHOLD_OTHER_REASON = 99,
} leasehold_reason;

// How important a line is.
typedef enum leasehold_level {
  // Something is broken.
  LEASEHOLD_ERROR = 1,
  // Something is not as it should be.
  LEASEHOLD_WARN = 2,
  // Role and connection changes.
  LEASEHOLD_INFO = 3,
  // Details.
  LEASEHOLD_DEBUG = 4,
} leasehold_level;

// A configuration that is being made. Freed with `leasehold_config_free`.
typedef struct leasehold_config leasehold_config;

// A started node. Freed with `leasehold_free`.
typedef struct leasehold_node leasehold_node;

// The right to act as leader of one term. Freed with `leasehold_token_free`.
typedef struct leasehold_token leasehold_token;

// Something that happened to a node. Set `size` to `sizeof` before it is filled.
typedef struct leasehold_event {
  // `sizeof(leasehold_event)`.
  uint32_t size;
  // What happened.
  enum leasehold_event_kind kind;
  // The term that it is about, or 0.
  uint64_t epoch;
  // What the kind says, or 0.
  uint64_t number;
  // Why a term ended.
  enum leasehold_cause cause;
  // Why a term is or was given back.
  enum leasehold_reason reason;
  // The node that it is about, or empty.
  char node_id[LEASEHOLD_NODE_ID_SIZE];
  // One line about it for people.
  char text[LEASEHOLD_TEXT_SIZE];
} leasehold_event;

// Calls for what happens to a node, beside its events or instead of them. Set `size` to `sizeof`;
// functions that are null are not called.
//
// All are called on one thread of the library's own, in order, one at a time. However long one
// takes, no renewal waits for it; later ones do. They may call anything of this library but
// `leasehold_stop` and `leasehold_free`. They must return: a C++ exception or a `longjmp` out of
// them is undefined.
typedef struct leasehold_hooks {
  // `sizeof(leasehold_hooks)`.
  uint32_t size;
  // Handed to every function; the library does not look at it. It is used on another thread.
  void *user_data;
  // This node leads. Start what the leader does; it may outlive the call.
  void (*on_become_leader)(void *user_data, uint64_t epoch);
  // The term is over, or is to be given back; `event` says why, and is the library's. Stop what
  // the leader does **before returning**: a lease that is given back is released only then.
  void (*on_lose_leadership)(void *user_data, const struct leasehold_event *event);
  // Anything else. `event` is the library's, and goes when this returns.
  void (*on_event)(void *user_data, const struct leasehold_event *event);
  // The last call: nothing uses `user_data` any more. Made exactly once; when the start failed,
  // on the thread that called it, and not at all when it failed with `LEASEHOLD_E_SIZE` or
  // `LEASEHOLD_E_FORKED`.
  void (*release)(void *user_data);
} leasehold_hooks;

// A node at one moment. Set `size` to `sizeof` before it is filled.
typedef struct leasehold_status {
  // `sizeof(leasehold_status)`.
  uint32_t size;
  // Whether it leads.
  bool leads;
  // Whether it is giving a term back.
  bool resigning;
  // Whether there is a connection.
  bool connected;
  // The highest epoch seen, or 0.
  uint64_t epoch;
  // The newest revision known, or 0.
  uint64_t revision;
  // Who leads, as far as is known, or empty.
  char leader[LEASEHOLD_NODE_ID_SIZE];
} leasehold_status;

// Counters since the start. Set `size` to `sizeof` before it is filled.
typedef struct leasehold_stats {
  // `sizeof(leasehold_stats)`.
  uint32_t size;
  // Terms led.
  uint64_t terms;
  // Renewals that moved the deadline.
  uint64_t renewals;
  // Requests the server refused.
  uint64_t failures;
  // Requests whose outcome was not known at first.
  uint64_t unknown_outcomes;
  // Writes that came second.
  uint64_t lost_races;
  // Connections made after the first.
  uint64_t reconnects;
  // Connections given up because nothing was answered.
  uint64_t abandoned_connections;
  // Events dropped because nobody took them; 0 while nobody has asked for any. What callbacks
  // missed is told to them, by `LEASEHOLD_MISSED`.
  uint64_t events_missed;
  // From sending the newest request to its answer, in microseconds.
  uint64_t last_round_trip_us;
  // How long a held lease lasts without another renewal, in milliseconds; 0 when none is held.
  uint64_t remaining_ms;
} leasehold_stats;

// Takes one line, which is the library's and goes when this returns.
typedef void (*leasehold_log_function)(void *user_data, enum leasehold_level level, const char *line);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, `MAJOR.MINOR.PATCH`: a text that is never freed. Never fails.
const char *leasehold_version(void);

// `LEASEHOLD_ABI` as it was when the library was built. Never fails.
uint32_t leasehold_abi(void);

// What was wrong with the newest call on this thread that returned a code other than
// `LEASEHOLD_OK`: one line for people, without secrets. Empty before the first.
//
// The text is the library's; it stands until the next such call on this thread. Copy what is to be
// kept. Never fails and never returns null.
const char *leasehold_last_error(void);

// A configuration with all defaults: who the node is, and the servers' addresses, separated by
// commas. Checked at once. `*config` is the caller's, to be freed with `leasehold_config_free`.
// Does not block.
enum leasehold_code leasehold_config_new(const char *cluster_id,
                                         const char *node_id,
                                         const char *servers,
                                         struct leasehold_config **config);

// Reads a configuration from a file, and checks it; the README has the file's keys. `*config` is
// the caller's, to be freed with `leasehold_config_free`. Blocks while the file is read, and that
// of an nkey.
enum leasehold_code leasehold_config_load(const char *file, struct leasehold_config **config);

// As `leasehold_config_load`, from the text of a file. Does not block, except to read the file of
// an nkey.
enum leasehold_code leasehold_config_parse(const char *text, struct leasehold_config **config);

// Sets a text by its key in the file, `"nats.credentials"` for example. An empty text is the
// default. An unknown key, and a value that the key cannot have whatever the others are, is
// refused at once. How settings fit together is checked when a node is started, or by
// `leasehold_config_check`, as are the files that are named here. A list, as `"nats.servers"` is,
// takes `leasehold_config_set_json`. Does not block, and reads no file.
enum leasehold_code leasehold_config_set_text(struct leasehold_config *config,
                                              const char *key,
                                              const char *value);

// Sets a number, `"election.leaseTtlMs"` for example. As `leasehold_config_set_text`; the message
// names the field and its range. A timer's range is the widest that it can have: what the other
// timers leave of it is checked when a node is started, or by `leasehold_config_check`. 0 is the
// default of `"election.leaseTtlMs"`, `"election.renewIntervalMs"` and `"vip.netmask"`, as in the
// file.
enum leasehold_code leasehold_config_set_number(struct leasehold_config *config,
                                                const char *key,
                                                int64_t value);

// Sets a flag, `"nats.startDisconnected"` for example. As `leasehold_config_set_text`.
enum leasehold_code leasehold_config_set_flag(struct leasehold_config *config,
                                              const char *key,
                                              bool value);

// Sets any value, as JSON: `"election.meta"`, `"nats.servers"`, which is a list of texts, or a
// whole section. A section replaces the one before: what it does not name gets its default, so
// `"nats"` without `servers` is accepted here, and refused when a node is started, or by
// `leasehold_config_check`. `null` is the default. As `leasehold_config_set_text`.
enum leasehold_code leasehold_config_set_json(struct leasehold_config *config,
                                              const char *key,
                                              const char *value);

// Checks all of a configuration, as starting a node does. Does not block, except to read the file
// of an nkey.
enum leasehold_code leasehold_config_check(const struct leasehold_config *config);

// Frees a configuration; nodes that were started with it are not concerned. Null is ignored.
enum leasehold_code leasehold_config_free(struct leasehold_config *config);

// Starts a node. The configuration stays the caller's, and may be freed at once. `hooks` may be
// null; it is copied. `*node` is the caller's, to be freed with `leasehold_free`. With a virtual
// IP in the configuration, that follows the lead.
//
// Blocks until the bucket was read or found missing, for at most the connect timeout (default
// 5 s), or not at all with `nats.startDisconnected`; before that, while the file of an nkey is
// read.
enum leasehold_code leasehold_start(const struct leasehold_config *config,
                                    const struct leasehold_hooks *hooks,
                                    struct leasehold_node **node);

// Gives back what is held and ends the node's threads, while it blocks: within the stop timeout
// (default 5 s), and after it at most 1 s more for a callback that does not return, 2 s for a log
// function or a connection that hangs, and 2 s for the answers of `leasehold_serve_health`. The
// caller's own work for a term must have stopped: it waits for callbacks, but for no
// `leasehold_drained`, and a `LEASEHOLD_RESIGNING` that stands in the queue needs none any more.
// `left_to_lapse` may be null; it becomes true when the lease could not be released and others
// wait for its TTL.
//
// Threads that wait in another call for this node return. What happened until it had stopped can
// be taken until the node is freed: the end of its term, and what nobody took before, up to
// `election.eventCapacity` + 64 events. Its descriptor stays open. `LEASEHOLD_E_STOPPED` at a
// second call, `LEASEHOLD_E_IN_CALLBACK` in a callback.
enum leasehold_code leasehold_stop(struct leasehold_node *node, bool *left_to_lapse);

// Frees a node, and stops it first as `leasehold_stop` does, for as long at most, unless it was;
// where another thread is stopping it, that is waited for. Its handle is void at once, also for
// other threads, and what happens from then on can be had by callbacks only. Null is ignored.
// `LEASEHOLD_E_IN_CALLBACK` in a callback: nothing was done.
//
// The descriptor is closed: take it out of every poll set before. Where another thread is in a
// call for this node, it is closed when the last of those calls has returned, which they do at
// once, but perhaps after this one.
//
// A callback that takes longer than a second to return is left behind; `release` tells when
// `user_data` is free.
enum leasehold_code leasehold_free(struct leasehold_node *node);

// A descriptor to wait for events with, by `select`, `poll` or `epoll`, level-triggered: readable
// from the moment an event is queued until `leasehold_next_event` has returned
// `LEASEHOLD_NOTHING`, and when the node has stopped, until it has returned `LEASEHOLD_CLOSED`.
// Take one event for each wake-up, or all.
//
// It is the node's: only wait for it, do not read, write or close it; `leasehold_free` closes it.
// The same at every call. It may be readable at first without an event. Does not block.
// `LEASEHOLD_E_SYSTEM` when there is no descriptor left.
//
// Whoever asks for events is waited for: see `LEASEHOLD_RESIGNING`.
enum leasehold_code leasehold_descriptor(struct leasehold_node *node, int *descriptor);

// Takes the next event; each goes to one caller. `event->size` must be set. Waits for one for
// `timeout_ms`: 0 does not block, a negative number waits without a bound.
//
// `LEASEHOLD_NOTHING` when none came in time, `LEASEHOLD_CLOSED` when the node has stopped and all
// were taken. Whoever asks for events is waited for: see `LEASEHOLD_RESIGNING`.
enum leasehold_code leasehold_next_event(struct leasehold_node *node,
                                         struct leasehold_event *event,
                                         int64_t timeout_ms);

// Says that the work of a term has stopped that is given back: what `LEASEHOLD_RESIGNING` asks
// for, whether that was taken already or not. The lease is released then, and another node takes
// over; after the drain timeout too, unless one has. Does nothing for any other epoch, nor for a
// term that is not being given back yet. Does not block.
enum leasehold_code leasehold_drained(struct leasehold_node *node, uint64_t epoch);

// Whether the node leads now: a comparison of the clock with the term's deadline. False for a void
// handle, and in a forked child. Never blocks, takes no lock, makes no system call; may be called
// from a signal handler.
bool leasehold_is_leader(const struct leasehold_node *node);

// The highest epoch that the node has seen, whoever's it is: to fence effects with, take a token's
// or that of `LEASEHOLD_BECAME_LEADER`. 0 before anything is known, and for a void handle. Does
// not block.
uint64_t leasehold_epoch(const struct leasehold_node *node);

// The leader's node id. `length`, which may be null, becomes its length without the final zero
// byte. `LEASEHOLD_NOTHING` when no leader is known. `LEASEHOLD_NODE_ID_SIZE` is always enough.
// Does not block.
enum leasehold_code leasehold_leader(const struct leasehold_node *node,
                                     char *buffer,
                                     size_t size,
                                     size_t *length);

// Waits until a leader is known, for at most `timeout_ms`; a negative number waits without a
// bound. `LEASEHOLD_E_TIMED_OUT`, `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_wait_for_leader(const struct leasehold_node *node,
                                              int64_t timeout_ms);

// Waits until this node leads, as `leasehold_wait_for_leader`.
enum leasehold_code leasehold_wait_for_leadership(const struct leasehold_node *node,
                                                  int64_t timeout_ms);

// Gives the lead back: `leasehold_is_leader` is false when this returns, the lease is released
// once the work was drained, and the node stays back for its cooldown (default: the TTL). Waits
// for the next turn of the node's thread only, and at most 5 s where that hangs; then it may yet
// be done. `LEASEHOLD_E_NOT_LEADER`, `LEASEHOLD_E_STOPPED`, `LEASEHOLD_E_TIMED_OUT`.
enum leasehold_code leasehold_step_down(struct leasehold_node *node);

// As `leasehold_step_down`, for the node `node_id` to take over. `LEASEHOLD_E_TO_ITSELF`,
// `LEASEHOLD_E_CONFIG` when it is no node id.
enum leasehold_code leasehold_transfer(struct leasehold_node *node, const char *node_id);

// Ends the cooldown: the node takes part in the election again. Waits for the next turn of the
// node's thread only. `LEASEHOLD_E_RESIGNING`, `LEASEHOLD_E_UNHEALTHY`, `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_promote(struct leasehold_node *node);

// Says whether this node is fit to lead, as it is at first. An unfit one does not challenge, and
// steps down if it leads. Waits for the next turn of the node's thread only.
// `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_set_healthy(struct leasehold_node *node, bool healthy);

// A value, as JSON, that the leader's record carries when this node leads: an address, say. `null`
// is none; at most 4096 bytes. Waits for the next turn of the node's thread only.
// `LEASEHOLD_E_STOPPED`.
enum leasehold_code leasehold_set_meta(struct leasehold_node *node, const char *json);

// The value that the newest record carries, as JSON. As `leasehold_leader`.
enum leasehold_code leasehold_leader_meta(const struct leasehold_node *node,
                                          char *buffer,
                                          size_t size,
                                          size_t *length);

// Answers health queries for this node, on `cluster.<cluster>.health.<node>`, until it is stopped:
// by a thread and a connection of its own, so also while the election hangs. Does nothing at a
// second call. Does not wait for the connection.
enum leasehold_code leasehold_serve_health(struct leasehold_node *node);

// The token of the present term. `*token` is the caller's, to be freed with
// `leasehold_token_free`; it may outlive the node. `LEASEHOLD_E_NOT_LEADER` when the node does not
// lead. Does not block.
enum leasehold_code leasehold_token_acquire(const struct leasehold_node *node,
                                            struct leasehold_token **token);

// Whether the token's term is in force now. Once false, false for ever; false for a void handle,
// and in a forked child. Never blocks, takes no lock, makes no system call; may be called from a
// signal handler.
bool leasehold_token_is_valid(const struct leasehold_token *token);

// The term's fencing number: send it along with every effect. 0 for a void handle. Does not block.
uint64_t leasehold_token_epoch(const struct leasehold_token *token);

// How long the term lasts if no renewal succeeds, in milliseconds, rounded down; 0 once it has
// ended, and for a void handle. Does not block.
uint64_t leasehold_token_remaining_ms(const struct leasehold_token *token);

// The session that leads, 32 hexadecimal digits, for gates that check it beside the epoch. As
// `leasehold_leader`.
enum leasehold_code leasehold_token_session(const struct leasehold_token *token,
                                            char *buffer,
                                            size_t size,
                                            size_t *length);

// Frees a token. Null is ignored. Does not block.
enum leasehold_code leasehold_token_free(struct leasehold_token *token);

// Everything at one moment. `status->size` must be set. Does not block.
enum leasehold_code leasehold_get_status(const struct leasehold_node *node,
                                         struct leasehold_status *status);

// Counters since the start. `stats->size` must be set. Does not block.
enum leasehold_code leasehold_get_stats(const struct leasehold_node *node,
                                        struct leasehold_stats *stats);

// Status and counters as text that Prometheus and its kin read. As `leasehold_leader`; some 8 KiB.
// Does not block.
enum leasehold_code leasehold_metrics(const struct leasehold_node *node,
                                      char *buffer,
                                      size_t size,
                                      size_t *length);

// Sends the library's log to a function, up to a level (`LEASEHOLD_INFO` is 3), for the rest of
// the process; without this call nothing is logged. `LEASEHOLD_E_ALREADY` at a second call.
//
// The function is called on any of the library's threads, also on several at once. Renewals wait
// for it: it must not block, and must call nothing of this library. It and `user_data` must last
// as long as the process. Does not block.
enum leasehold_code leasehold_log(uint32_t level, leasehold_log_function write, void *user_data);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LEASEHOLD_H */
