// SPDX-License-Identifier: Apache-2.0
// mserve for C and everything that can call C: ask a broker (mserve_client), and serve one
// (mserve_servant). C99, also C++. Link with `pkg-config --libs mserve`; qclient/capi/README.md has
// a client and a servant to begin with, and Python.
//
//   Results   A function that can fail returns a mserve_status. Four are outcomes of normal work
//             and no failures: MSERVE_OK, MSERVE_FULL, MSERVE_EMPTY, MSERVE_TIMED_OUT. Of any other
//             one mserve_last_error() tells more, in the thread that called. Every function also
//             returns MSERVE_INVALID for a null handle or a null pointer where one is needed,
//             MSERVE_NO_MEMORY when memory runs out, and MSERVE_INTERNAL for a bug of ours (please
//             report it). Nothing is ever thrown, printed or exited, no signal handler installed,
//             no thread started.
//   Handles   made by mserve_client_connect() and mserve_servant_attach(); ended by
//             mserve_client_disconnect() and mserve_servant_detach(), which take the address of the
//             handle and set it to null: whoever uses or ends that variable again gets
//             MSERVE_INVALID. A *copy* of an ended handle is as invalid as a pointer after free().
//   Threads   One caller at a time per handle; any number of handles, in any threads. A handle may
//             move from thread to thread. The one exception is mserve_servant_stop(). Do not cancel
//             a thread (pthread_cancel) inside a call. After fork() only the parent may use what it
//             had; the child ends nothing and makes handles of its own.
//   Structs   begin with their size and grow at the end only, so a program and a library of
//             different versions fit. Always start from the MSERVE_..._INIT of the struct. An older
//             library takes what it knows; a member that it does not know has to be 0, or the call
//             is refused as MSERVE_INVALID, so nothing asked for is silently left out.
//   Texts     are UTF-8 with an end mark. Those passed in are copied; null means empty.
//   Times     are nanoseconds. A time-out is relative: 0 does what can be done without waiting,
//             MSERVE_FOREVER waits as long as it takes.
//   Payloads  kdb+ objects are what follows the 8-byte header of a kdb+ IPC message: little endian,
//             uncompressed. What `-8!` (q), b9() (k.h) or a kdb+ client library makes is such an
//             object behind its header: pass the bytes from the ninth on.
#pragma once

#include <stddef.h>
#include <stdint.h>

// NOLINTBEGIN(readability-identifier-naming): names of a C interface carry its prefix

/// The interface described here. Functions and members that are added raise MINOR; MAJOR is the N
/// of libmserve.so.N and changes only when programs have to be built again.
#define MSERVE_ABI_MAJOR 1U
#define MSERVE_ABI_MINOR 0U

/// As a time-out: wait as long as it takes.
#define MSERVE_FOREVER UINT64_MAX

#ifndef MSERVE_API
#define MSERVE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#define MSERVE_NOEXCEPT noexcept
#else
#define MSERVE_NOEXCEPT
#endif

// ---- Errors

/// One of the constants below. Later versions may add some: treat an unknown one as a failure.
typedef int32_t mserve_status;

enum {
  MSERVE_OK = 0,
  MSERVE_FULL = 1,          ///< No room; nothing was sent. Take replies, then retry.
  MSERVE_EMPTY = 2,         ///< Nothing there now.
  MSERVE_TIMED_OUT = 3,     ///< The time is over; a request that was sent may still run.
  MSERVE_TOO_LARGE = 4,     ///< Larger than this session takes.
  MSERVE_DISCONNECTED = 5,  ///< The broker is gone; whether what was under way ran is unknown.
  MSERVE_NOT_ATTACHED = 6,  ///< No session now; try again later.
  MSERVE_INVALID = 7,       ///< An argument is out of its documented range.

  MSERVE_OS = 20,                ///< The kernel said no.
  MSERVE_NO_BROKER = 21,         ///< Nobody listens there. Start the broker or check the name.
  MSERVE_ACCESS = 22,            ///< The broker does not take this user (--allow-user).
  MSERVE_NO_MEMORY = 23,         ///< Memory, or a cap on sessions, bytes or descriptors, ran out.
  MSERVE_IN_USE = 24,            ///< Somebody alive already has this name.
  MSERVE_UNSAFE_DIRECTORY = 25,  ///< The rendezvous directory is not private.

  MSERVE_PROTOCOL = 40,             ///< The other side sent what the protocol does not allow.
  MSERVE_VERSION_MISMATCH = 41,     ///< Upgrade the older side.
  MSERVE_CURSOR_OUT_OF_RANGE = 42,  ///< The other side damaged its memory; restart it.
  MSERVE_BAD_FRAME = 43,            ///< The other side sent a malformed frame; restart it.
  MSERVE_BAD_SEGMENT = 44,          ///< What listens there is no mserve broker.
  MSERVE_POISONED = 45,             ///< The session broke earlier; end it.

  MSERVE_BUSY = 60,           ///< The broker's queue is full. Back off and retry.
  MSERVE_NO_SERVANT = 61,     ///< No servant is attached that could ever run it.
  MSERVE_SERVANT_DIED = 62,   ///< The servant died while it ran the request; outcome unknown.
  MSERVE_SHUTDOWN = 63,       ///< The broker is going down.
  MSERVE_CANCELLED = 64,      ///< Cancelled; of a servant: mserve_servant_stop() was called.
  MSERVE_STALLED = 65,        ///< A large message made no progress and was cut.
  MSERVE_FAILED = 66,         ///< The servant answered with an error.
  MSERVE_SLOW_READER = 67,    ///< Replies were not read; the session was closed.
  MSERVE_INTERNAL = 68,       ///< A bug of ours; please report it.
  MSERVE_QUEUE_TIMEOUT = 69,  ///< No servant was free in time; it did not run.
  MSERVE_RETIRED = 70         ///< An operator retired this servant: do not attach again.
};

/// MSERVE_ABI_MAJOR * 65536 + MSERVE_ABI_MINOR of the library that runs. A program that loads it by
/// hand (dlopen, ctypes) compares the major part first; the linker does that for the others.
/// @thread any.
MSERVE_API uint32_t mserve_abi_version(void) MSERVE_NOEXCEPT;
/// The release, such as "0.1.0". Never null, static. @thread any.
MSERVE_API const char* mserve_version(void) MSERVE_NOEXCEPT;
/// A short name for logs, such as "no broker". Never null, static. @thread any.
MSERVE_API const char* mserve_status_name(mserve_status status) MSERVE_NOEXCEPT;
/// One sentence that says what to do about it. Never null, static. @thread any.
MSERVE_API const char* mserve_status_advice(mserve_status status) MSERVE_NOEXCEPT;
/// What is known about the last failure in this thread, at most 1023 bytes; a failure is any status
/// but the four outcomes. Empty before the first. Never null; valid until this thread's next
/// failure. @thread any; each has its own.
MSERVE_API const char* mserve_last_error(void) MSERVE_NOEXCEPT;

// ---- What clients and servants have in common

/// What a call that waits does meanwhile; `idle` of the options.
enum {
  MSERVE_IDLE_AUTO = 0,   ///< By the cores that the process may use.
  MSERVE_IDLE_SPIN = 1,   ///< Burns its core; lowest latency where every spinner has its own.
  MSERVE_IDLE_YIELD = 2,  ///< Offers its core to others, never sleeps.
  MSERVE_IDLE_PARK = 3    ///< Looks for a short while, then sleeps.
};

/// `flags` of mserve_client_options and mserve_servant_options; others are refused.
enum {
  /// A lost session stays lost: clients call mserve_client_reconnect(), servants detach.
  MSERVE_NO_RECONNECT = 1,
  MSERVE_LOCK_MEMORY = 2  ///< mlock the session's memory; a refusal is not fatal.
};

/// What a payload is.
enum {
  MSERVE_KDB = 0,       ///< One kdb+ object.
  MSERVE_KDB_PAIR = 1,  ///< Two, one behind the other: a query and a dictionary of options for the
                        ///< servant. Requests only.
  MSERVE_OPAQUE = 2,    ///< Bytes that only client and servant understand. Not over TCP.
  MSERVE_Q_TEXT = 3     ///< Text of a q query; sent as the kdb+ string it is. Requests only.
};

// ---- Client

/// One session with a broker, kept alive across restarts of the broker.
typedef struct mserve_client mserve_client;

/// How a client reaches its broker. Start from MSERVE_CLIENT_OPTIONS_INIT.
typedef struct mserve_client_options {
  uint32_t size;   ///< Set by MSERVE_CLIENT_OPTIONS_INIT.
  uint32_t flags;  ///< MSERVE_NO_RECONNECT, MSERVE_LOCK_MEMORY.
  /// A broker's name on this host (1 to 64 of [A-Za-z0-9._-]); or gateways on any host,
  /// "tcp://[user[:password]@]host:port[,host2:port2]"; or "NAME,tcp://...", these while there is
  /// no broker here. Empty: $MSERVE_NAME, which may be any of them, else "default".
  const char* broker;
  const char* user;        ///< Of TCP endpoints that name none. Empty: as the system knows us.
  const char* password;    ///< Beside it.
  const char* directory;   ///< Rendezvous directory. Empty: $MSERVE_DIR, else the broker's default.
  const char* name;        ///< For the broker's logs: up to 63 of [A-Za-z0-9._-]; empty: nameless.
  uint32_t idle;           ///< MSERVE_IDLE_...
  uint32_t ring_bytes;     ///< A power of two, 4 KiB to 64 MiB; 0: as the broker says.
  uint32_t in_flight_max;  ///< Requests in flight, at most 2^24; 0: 2^20.
  uint32_t reserved;       ///< 0.
  uint64_t message_bytes_max;  ///< Largest request or answer; 0: the broker's bound.
  uint64_t unread_bytes_max;   ///< Of answers kept for a later poll; 0: 256 MiB.
  uint64_t attach_ns_max;      ///< Bound on one attach handshake; 0: 5 s.
  uint64_t connect_ns_max;     ///< Bound on one TCP endpoint before the next is tried; 0: 2 s.
  uint64_t resend_ns_max;      ///< How long repeatable requests of a session that was lost wait for
                               ///< the next one, with TCP endpoints; 0: 10 s.
} mserve_client_options;

#define MSERVE_CLIENT_OPTIONS_INIT \
  { sizeof(mserve_client_options), 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/// `flags` of mserve_send_options; others are refused.
enum {
  MSERVE_REPEATABLE = 1,  ///< It may be run again if its servant dies while it runs.
  MSERVE_WANT_INFO = 2    ///< The reply says which servant, how long, how many waited.
};

/// How one request is sent. Start from MSERVE_SEND_OPTIONS_INIT.
typedef struct mserve_send_options {
  uint32_t size;    ///< Set by MSERVE_SEND_OPTIONS_INIT.
  uint32_t format;  ///< MSERVE_KDB, MSERVE_KDB_PAIR, MSERVE_OPAQUE or MSERVE_Q_TEXT.
  uint32_t flags;   ///< MSERVE_REPEATABLE, MSERVE_WANT_INFO.
  /// 0 to 3, usually 1: requests of a higher one wait less, but every priority has its share. Not
  /// over TCP.
  uint32_t priority;
  /// The route: requests of one route prefer the servant that ran it last. The same text as a first
  /// argument gives. Empty: of kdb+ queries by the broker's rule (--route), which costs a look at
  /// the query; of opaque ones none. Over TCP the gateway goes by its rule.
  const char* route;
  /// How long it may wait for a servant, then it completes with MSERVE_QUEUE_TIMEOUT and did not
  /// run; 0: as long as the broker allows, which is also the most. Not over TCP.
  uint64_t queue_ns_max;
  /// How long it may run, then it completes with MSERVE_TIMED_OUT and may still run; 0: as long as
  /// the broker allows, which is also the most. Not over TCP.
  uint64_t run_ns_max;
} mserve_send_options;

#define MSERVE_SEND_OPTIONS_INIT \
  { sizeof(mserve_send_options), MSERVE_KDB, 0, 1, NULL, 0, 0 }

/// One finished request. Start from MSERVE_REPLY_INIT; the call that fills it sets all members up
/// to `size`. Payload and info_object are lent: they stay valid until the next call with this
/// client, other than mserve_client_try_send() and mserve_client_cancel(). The bytes may lie in
/// memory that the broker can change: copy before you check and parse, unless you trust it.
typedef struct mserve_reply {
  uint32_t size;         ///< Set by MSERVE_REPLY_INIT.
  mserve_status status;  ///< MSERVE_OK: the payload is the result. MSERVE_FAILED: the servant's
                         ///< error, as a kdb+ error object; mserve_reply_error() reads it. Any
                         ///< other one comes from the broker or this library, without payload.
  uint64_t id;           ///< What sending it gave.
  const void* payload;   ///< Null when payload_bytes is 0.
  size_t payload_bytes;
  uint32_t format;          ///< MSERVE_KDB or MSERVE_OPAQUE.
  uint32_t servant;         ///< Number of the servant that ran it; 0: none did, or over TCP.
  uint32_t has_info;        ///< 1: the members below are set (MSERVE_WANT_INFO); else they are 0.
  uint32_t backlog;         ///< Requests queued or running when it reached the broker.
  uint32_t remaining;       ///< The same when it was answered.
  uint32_t reserved;        ///< 0.
  uint64_t elapsed_ns;      ///< From its arrival at the broker to its answer there.
  uint64_t execution_ns;    ///< From its dispatch to its answer.
  char servant_name[32];    ///< With an end mark.
  const void* info_object;  ///< The servant's own info, an encoded dictionary, if it sent one.
  size_t info_object_bytes;
} mserve_reply;

#define MSERVE_REPLY_INIT \
  { sizeof(mserve_reply), 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, NULL, 0 }

/// Attaches to a broker. Blocks up to attach_ns_max, usually less than a millisecond.
/// @param options  null: all defaults.
/// @param client   receives the handle; null when this fails. Yours: mserve_client_disconnect().
/// @return MSERVE_OK, or
///   MSERVE_INVALID           an option is out of range: mserve_last_error() names each;
///   MSERVE_NO_BROKER         start the broker, or check name and directory;
///   MSERVE_ACCESS            the broker, or gateway, does not take this user;
///   MSERVE_NO_MEMORY         memory, or a cap of the broker, is reached;
///   MSERVE_VERSION_MISMATCH  upgrade the older side;
///   MSERVE_UNSAFE_DIRECTORY  make the rendezvous directory private;
///   MSERVE_TIMED_OUT         the broker does not answer: is it stopped?
///   MSERVE_SHUTDOWN          the broker is going down: try again when it is back;
///   MSERVE_BAD_SEGMENT, MSERVE_PROTOCOL  what listens there is no mserve broker;
///   MSERVE_OS                the kernel said no: mserve_last_error() has its words.
MSERVE_API mserve_status mserve_client_connect(const mserve_client_options* options,
                                               mserve_client** client) MSERVE_NOEXCEPT;

/// Detaches, frees the handle and sets it to null; what is in flight is dropped by the broker.
/// Replies that it lent become invalid. Null, or the address of a null handle: nothing happens.
MSERVE_API void mserve_client_disconnect(mserve_client** client) MSERVE_NOEXCEPT;

/// Sends one request that fits one frame, and returns at once. Every id that was given completes
/// exactly once: by a reply, or by mserve_client_cancel(); with MSERVE_DISCONNECTED when the
/// session is lost.
/// @param payload  copied; may be null when payload_bytes is 0.
/// @param options  null: all defaults.
/// @param id       receives the correlation id, above 0 and unique within this client.
/// @return MSERVE_OK, or
///   MSERVE_FULL          no room: take replies, then retry;
///   MSERVE_TOO_LARGE     above mserve_client_try_payload_bytes_max(), or with a time limit 24
///                        bytes less: use mserve_client_send();
///   MSERVE_INVALID       an option is out of range; over TCP also: no kdb+ object;
///   MSERVE_NOT_ATTACHED  no session now: retry later.
/// @progress never waits, but without a session may try to attach, for at most 50 ms.
MSERVE_API mserve_status mserve_client_try_send(mserve_client* client, const void* payload,
                                                size_t payload_bytes,
                                                const mserve_send_options* options,
                                                uint64_t* id) MSERVE_NOEXCEPT;

/// Sends one request of any size, waiting for room. Replies that arrive meanwhile are kept.
/// @param payload  read until the return; must not point into a reply that this client lent.
/// @return as mserve_client_try_send(), but
///   MSERVE_TOO_LARGE     above mserve_client_payload_bytes_max();
///   MSERVE_FULL          unread_bytes_max is reached: poll first; nothing runs;
///   MSERVE_TIMED_OUT     no room in time; nothing runs;
///   MSERVE_DISCONNECTED  the session was lost on the way; nothing runs.
MSERVE_API mserve_status mserve_client_send(mserve_client* client, const void* payload,
                                            size_t payload_bytes,
                                            const mserve_send_options* options, uint64_t timeout_ns,
                                            uint64_t* id) MSERVE_NOEXCEPT;

/// The next finished request, if there is one. Never waits.
/// @return MSERVE_OK and `reply` filled; MSERVE_EMPTY; MSERVE_NOT_ATTACHED: the session is lost and
///   everything was completed; goes on when the broker is back.
MSERVE_API mserve_status mserve_client_poll(mserve_client* client,
                                            mserve_reply* reply) MSERVE_NOEXCEPT;

/// Waits until mserve_client_poll() has something.
/// @return MSERVE_OK; MSERVE_TIMED_OUT; MSERVE_EMPTY at once when nothing is in flight;
///   MSERVE_NOT_ATTACHED: nothing is in flight, and there is no session.
MSERVE_API mserve_status mserve_client_wait(mserve_client* client,
                                            uint64_t timeout_ns) MSERVE_NOEXCEPT;

/// Waits for the reply to one request; others that arrive meanwhile are kept.
/// @return MSERVE_OK and `reply` filled, whatever its status is;
///   MSERVE_TIMED_OUT  it stays in flight: await it again, or cancel it;
///   MSERVE_FULL       unread_bytes_max is reached by others: poll first;
///   MSERVE_INVALID    that id is not in flight.
MSERVE_API mserve_status mserve_client_await(mserve_client* client, uint64_t id,
                                             uint64_t timeout_ns,
                                             mserve_reply* reply) MSERVE_NOEXCEPT;

/// Sends one request and waits for its reply; others that arrive meanwhile are kept.
/// @return MSERVE_OK and `reply` filled, its status MSERVE_OK or MSERVE_FAILED; or
///   MSERVE_TIMED_OUT  the request was cancelled; a servant may have run it;
///   any status that a reply or mserve_client_send() can have; `reply` is not filled.
MSERVE_API mserve_status mserve_client_call(mserve_client* client, const void* payload,
                                            size_t payload_bytes,
                                            const mserve_send_options* options, uint64_t timeout_ns,
                                            mserve_reply* reply) MSERVE_NOEXCEPT;

/// Gives up on a request: it is completed hereby, its reply will not be seen. A servant that runs
/// it goes on, unless the broker interrupts (--interrupt).
/// @return MSERVE_OK; MSERVE_INVALID when the id is not in flight, nor kept.
MSERVE_API mserve_status mserve_client_cancel(mserve_client* client, uint64_t id) MSERVE_NOEXCEPT;

/// The text of a reply's error: the servant's own for MSERVE_FAILED, the name of any other status;
/// empty for MSERVE_OK. To be called while the reply is valid.
/// @param text  receives at most text_bytes bytes with an end mark; may be null when that is 0.
/// @return bytes of the whole text without end mark; it was cut when this is >= text_bytes.
MSERVE_API size_t mserve_reply_error(const mserve_reply* reply, char* text,
                                     size_t text_bytes) MSERVE_NOEXCEPT;

/// Attaches again if the session is lost, retrying until the time is over.
/// @return MSERVE_OK, also when nothing was lost; or as mserve_client_connect().
MSERVE_API mserve_status mserve_client_reconnect(mserve_client* client,
                                                 uint64_t timeout_ns) MSERVE_NOEXCEPT;

/// 1, or 0 while the session is known to be lost, and for null.
MSERVE_API int32_t mserve_client_attached(const mserve_client* client) MSERVE_NOEXCEPT;
/// Requests neither completed nor cancelled, kept replies not counted; 0 for null.
MSERVE_API size_t mserve_client_in_flight(const mserve_client* client) MSERVE_NOEXCEPT;
/// Largest payload of mserve_client_send(), and of a reply, in bytes; 0 for null.
MSERVE_API uint64_t mserve_client_payload_bytes_max(const mserve_client* client) MSERVE_NOEXCEPT;
/// Largest payload of mserve_client_try_send(), in bytes; 0 for null.
MSERVE_API uint64_t mserve_client_try_payload_bytes_max(const mserve_client* client)
    MSERVE_NOEXCEPT;

/// For event loops: a descriptor to watch for reading while prepare_sleep() holds; -1 while there
/// is no session (then poll now and then), and for null. Stays the client's; another one after a
/// reconnect. In a loop:
///     while (mserve_client_poll(client, &reply) == MSERVE_OK) { ... }
///     if (mserve_client_prepare_sleep(client)) { poll(2), epoll, ... on fd, and a time-out }
///     mserve_client_finish_sleep(client);
MSERVE_API int32_t mserve_client_fd(const mserve_client* client) MSERVE_NOEXCEPT;
/// Announces that the descriptor will be watched. @return 1; 0 when there may be something to poll
/// already: do not sleep.
MSERVE_API int32_t mserve_client_prepare_sleep(mserve_client* client) MSERVE_NOEXCEPT;
/// Ends it; to be called after waking for whatever reason, before anything else with this client.
MSERVE_API void mserve_client_finish_sleep(mserve_client* client) MSERVE_NOEXCEPT;

// ---- Servant

/// One attachment to a broker as a servant, made again whenever the broker comes back.
typedef struct mserve_servant mserve_servant;

/// How a servant attaches. Start from MSERVE_SERVANT_OPTIONS_INIT.
typedef struct mserve_servant_options {
  uint32_t size;    ///< Set by MSERVE_SERVANT_OPTIONS_INIT.
  uint32_t flags;   ///< MSERVE_NO_RECONNECT, MSERVE_LOCK_MEMORY.
  uint32_t credit;  ///< Requests that it can hold at once, 1 to 4096; the broker grants at most 64.
  uint32_t idle;    ///< MSERVE_IDLE_...
  const char* broker;     ///< The broker's name on this host. Empty: $MSERVE_NAME, else "default".
  const char* directory;  ///< Rendezvous directory. Empty: $MSERVE_DIR, else the broker's default.
  const char* name;       ///< Up to 31 of [A-Za-z0-9._-]. Empty: the broker chooses.
  const char* group;      ///< For the broker's rules of placement: one word. Empty: none.
  const char* tags;       ///< Words such as "gpu version=canary weight=2", parted by blanks.
  uint32_t ring_bytes;    ///< A power of two, 4 KiB to 64 MiB; 0: as the broker says.
  uint32_t reserved;      ///< 0.
  uint64_t message_bytes_max;  ///< Largest request or reply; 0: the broker's bound.
  uint64_t attach_ns_max;      ///< Bound on one attach handshake; 0: 5 s.
  uint64_t stop_ns_max;  ///< How long a reply may still wait for room once it is stopped; 0: 1 s.
} mserve_servant_options;

#define MSERVE_SERVANT_OPTIONS_INIT \
  { sizeof(mserve_servant_options), 0, 1, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0 }

/// One request. Start from MSERVE_REQUEST_INIT; the call that fills it sets all members up to
/// `size`. The bytes are a private copy, valid until the request is answered.
typedef struct mserve_request {
  uint32_t size;        ///< Set by MSERVE_REQUEST_INIT.
  uint32_t format;      ///< MSERVE_KDB or MSERVE_OPAQUE.
  uint64_t id;          ///< To answer it with; above 0 and unique within this servant.
  const void* payload;  ///< Of MSERVE_KDB: text (a string) or a list such as (`fn;1;2). It was
                        ///< written by whoever may ask: never evaluate it. Null when empty.
  size_t payload_bytes;
  const void* options;  ///< The options that a client sent with the query, an encoded dictionary;
                        ///< null when there are none.
  size_t options_bytes;
} mserve_request;

#define MSERVE_REQUEST_INIT \
  { sizeof(mserve_request), 0, 0, NULL, 0, NULL, 0 }

/// Attaches as a servant. With no broker there yet it succeeds as well, unless MSERVE_NO_RECONNECT:
/// mserve_servant_receive() goes on trying. The broker takes a moment to know a new servant: until
/// then a request may still end with MSERVE_NO_SERVANT.
/// @param options  null: all defaults.
/// @param servant  receives the handle; null when this fails. Yours: mserve_servant_detach().
/// @return MSERVE_OK, or why going on is pointless: MSERVE_INVALID (mserve_last_error() names each
///   option), MSERVE_ACCESS, MSERVE_VERSION_MISMATCH, MSERVE_UNSAFE_DIRECTORY, MSERVE_RETIRED; with
///   MSERVE_NO_RECONNECT whatever failed, such as MSERVE_NO_BROKER.
MSERVE_API mserve_status mserve_servant_attach(const mserve_servant_options* options,
                                               mserve_servant** servant) MSERVE_NOEXCEPT;

/// Detaches, frees the handle and sets it to null. Requests that were not answered go to another
/// servant if they are repeatable, else their clients get MSERVE_SERVANT_DIED. Null, or the address
/// of a null handle: nothing happens.
MSERVE_API void mserve_servant_detach(mserve_servant** servant) MSERVE_NOEXCEPT;

/// Waits for the next request. Attaches again when the broker was gone. With a credit above 1 it
/// may be called again before the request is answered.
/// @return MSERVE_OK and `request` filled, to be answered exactly once, in any order;
///   MSERVE_TIMED_OUT     nothing came in time;
///   MSERVE_NOT_ATTACHED  nothing came in time, as there is no broker;
///   MSERVE_CANCELLED     mserve_servant_stop() was called: answer what you hold, then detach;
///   MSERVE_RETIRED       an operator wants no more of this servant: detach;
///   else as mserve_servant_attach(): detach. With MSERVE_NO_RECONNECT also MSERVE_DISCONNECTED.
MSERVE_API mserve_status mserve_servant_receive(mserve_servant* servant, uint64_t timeout_ns,
                                                mserve_request* request) MSERVE_NOEXCEPT;

/// Answers a request that was received, and ends it: its bytes become invalid.
/// @param payload  read until the return; may lie in the request's own bytes. Null when empty.
/// @param format   MSERVE_KDB or MSERVE_OPAQUE. A kdb+ error object is an answer with that error.
/// @return MSERVE_OK once the last byte is on its way; or
///   MSERVE_INVALID       no such request, or MSERVE_KDB and no well-formed object: in the second
///                        case the request is still to be answered;
///   MSERVE_TOO_LARGE     above the session's bound: still to be answered, with an error;
///   MSERVE_DISCONNECTED  its session is over, nobody waits for it: go on receiving.
/// @progress waits for room while the broker does not read, for ever if need be; after a stop for
///   stop_ns_max.
MSERVE_API mserve_status mserve_servant_reply(mserve_servant* servant, uint64_t id,
                                              const void* payload, size_t payload_bytes,
                                              uint32_t format) MSERVE_NOEXCEPT;

/// The same with an error: its client gets MSERVE_FAILED and this text.
/// @param text  1 byte or more; null or empty: "error".
MSERVE_API mserve_status mserve_servant_reply_error(mserve_servant* servant, uint64_t id,
                                                    const char* text) MSERVE_NOEXCEPT;

/// Makes mserve_servant_receive() return MSERVE_CANCELLED soon, at most 10 ms later, now and for
/// ever. Null: nothing happens. @thread any, while the handle lives; also from a signal handler.
MSERVE_API void mserve_servant_stop(mserve_servant* servant) MSERVE_NOEXCEPT;

/// 1 while there is a session; 0 without one, and for null.
MSERVE_API int32_t mserve_servant_attached(const mserve_servant* servant) MSERVE_NOEXCEPT;

#ifdef __cplusplus
}  // extern "C"
#endif

// NOLINTEND(readability-identifier-naming)
