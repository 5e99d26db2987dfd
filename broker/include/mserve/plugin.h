// SPDX-License-Identifier: Apache-2.0
// Plugins of mserve-broker: a shared object that chooses the servant of a request (--policy-plugin)
// or says what its route is (--route-plugin). C99, also C++; broker/examples/plugins has one of
// each.
//
//   A plugin   exports mserve_policy_plugin() or mserve_route_plugin(), which gives a table. One
//              file may have both. It is loaded once, when the broker starts (and by --check),
//              before there is any thread, and stays until the process ends; HUP does not load it
//              again.
//   Version    MSERVE_PLUGIN_ABI stands in each table. A broker takes tables of its own version,
//              and says of another one which it is: build the plugin again with the header of the
//              broker's version. Later releases may add members behind those that are here without
//              a new version; `size` says which are there. `size`, `abi` and `name` come first in
//              every version.
//   Trust      A plugin runs inside the broker: it can do whatever the broker can, and the broker
//              is gone if it crashes. So its file and every directory above it, up to /, must
//              belong to the broker's user or to root and be writable by nobody else, or it is
//              refused; a sticky directory such as /tmp may be. What it answers is checked like
//              any input; each function says what happens if the answer is wrong.
//   Manners    No exception, longjmp() or exit leaves a function: an exception ends the broker. No
//              threads, no signal handlers, no fork. What is passed by pointer belongs to the
//              broker and is valid during that call only; keep copies.
#pragma once

#include <stddef.h>
#include <stdint.h>

// NOLINTBEGIN(readability-identifier-naming): names of a C interface carry its prefix

/// The version of all that is declared here.
#define MSERVE_PLUGIN_ABI 1U

/// Stands before the definition of an exported function.
#ifdef __cplusplus
#define MSERVE_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define MSERVE_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ---- Policies: which of the free servants runs the next request.

/// A servant that may be chosen from now on.
typedef struct mserve_free_servant {
  uint32_t size;         ///< Of this struct, in bytes, as the broker knows it.
  uint32_t index;        ///< Below servants_max; its name from now on.
  uint32_t outstanding;  ///< Requests that it runs already; above 0 only with a credit above 1.
  uint32_t weight;       ///< 1 to 1000: tag weight=N of the servant, 1 without it.
  uint32_t routes;       ///< How many routes it is warm for, 0 to --routes-per-servant.
  uint32_t room;         ///< 1: it could be warm for one more without giving one up; else 0.
} mserve_free_servant;

/// A policy. There may be several instances in one broker, one for each pool of servants; what one
/// knows stands in its state, not in variables of the file.
///
/// The broker promises: a servant that entered leaves before it enters again, only one that entered
/// leaves, indices are below servants_max. Servants that are busy or stopped are not among those
/// that entered, nor are those on other hosts (--spill-after).
///
/// Threads: create() and destroy() are called before and after the data thread runs. All others are
/// called on that thread, never two at once, once or twice per request and within its latency: they
/// must not block, allocate, take locks or make system calls, and should cost the same with 10 and
/// with 10,000 servants.
typedef struct mserve_policy_table {
  uint32_t size;     ///< sizeof(mserve_policy_table); a smaller one is refused.
  uint32_t abi;      ///< MSERVE_PLUGIN_ABI; another one is refused.
  const char* name;  ///< For log and messages: 1 to 63 printable ASCII characters, no blanks.

  /// An instance without servants: everything it will ever need, allocated now. Tried once when the
  /// plugin is loaded, also by --check, and destroyed again.
  /// @param servants_max  indices of servants are below this; 1 to 16384.
  /// @return its state, which the broker passes to the other functions and does not look into; not
  ///         null. Null means that memory ran out: the broker does not start.
  void* (*create)(uint32_t servants_max);
  /// Frees a state that create() gave. Called once for each.
  void (*destroy)(void* state);
  /// Another servant has this index now: what was known of the one before holds no more. Called
  /// while it is not among those that entered.
  void (*renew)(void* state, uint32_t servant);
  /// It may be chosen from now on.
  void (*enter)(void* state, const mserve_free_servant* servant);
  /// It may not be chosen any more; it entered before. @param sent  1: a request is being sent to
  /// it; with credit left it enters again after that. 0: it died, stopped, or another policy takes
  /// over (HUP).
  void (*leave)(void* state, uint32_t servant, uint32_t sent);
  /// The servant for the next request. Called only while at least one has entered, and perhaps
  /// again before anything else happened: only leave() says what became of the choice.
  /// @return the index of one that entered and did not leave. Anything else is a fault: the free
  ///         servant with the lowest index is taken instead, the counter `policy_plugin_faults`
  ///         grows and the log says so (policy_plugin_fault), at most ten times a second.
  uint32_t (*choose)(void* state);
} mserve_policy_table;

/// What a policy plugin exports.
/// @return its table, which is never changed and valid until the process ends; not null.
MSERVE_PLUGIN_EXPORT const mserve_policy_table* mserve_policy_plugin(void);

// ---- Routes: which servants are warm for a request.

/// A longest route, in bytes.
#define MSERVE_ROUTE_BYTES_MAX 64U
/// A plugin sees that many arguments of a call; q functions take no more.
#define MSERVE_CALL_ARGUMENTS_MAX 8U

/// Bytes without an end mark. They are what clients sent, so they may be any bytes, also 0.
typedef struct mserve_text {
  const char* data;  ///< Not null, also when it is empty.
  size_t size;       ///< In bytes.
} mserve_text;

/// A request that is a call: a function by name and literal arguments, as text or as a list.
typedef struct mserve_call {
  uint32_t size;            ///< Of this struct, in bytes, as the broker knows it.
  uint32_t argument_count;  ///< Of `arguments`: 0 to MSERVE_CALL_ARGUMENTS_MAX.
  mserve_text function;     ///< Its name, 1 to 64 bytes (longer ones are cut).
  /// The arguments as --route arg:N shows them: a symbol or string as it is, other values in q's
  /// notation on one line (2024.01.01 2024.01.31, `a`b, 1.5), each cut after 64 bytes (of an
  /// encoded value above 4096 bytes only its type: type 7). Empty for :: and for an empty symbol or
  /// string. None if one of them is no literal (proc1 .z.d). Of a request that streams only those
  /// that came with its beginning.
  const mserve_text* arguments;
  mserve_text user;  ///< Whose request it is, as the client says; empty if it did not.
} mserve_call;

/// How routes are found. A pure function: the same call has the same route, whenever it is asked,
/// so that a route finds the servants that are warm for it.
///
/// Thread: route() is called on the gateway's thread (--gateway-thread), once per request that is a
/// call, within its latency: it must not block.
typedef struct mserve_route_table {
  uint32_t size;     ///< sizeof(mserve_route_table); a smaller one is refused.
  uint32_t abi;      ///< MSERVE_PLUGIN_ABI; another one is refused.
  const char* name;  ///< As mserve_policy_table::name.

  /// @param call      see above.
  /// @param route     where the route goes; no end mark is needed.
  /// @param capacity  bytes there: MSERVE_ROUTE_BYTES_MAX.
  /// @return bytes written; 0: the request has no route and may go to any servant. More than
  ///         `capacity`, or a zero byte among them, is a fault: the request has no route, the
  ///         counter `gateway_route_faults` grows and the log says so (route_plugin_fault), at most
  ///         ten times a second.
  uint32_t (*route)(const mserve_call* call, char* route, uint32_t capacity);
} mserve_route_table;

/// What a route plugin exports.
/// @return its table, which is never changed and valid until the process ends; not null.
MSERVE_PLUGIN_EXPORT const mserve_route_table* mserve_route_plugin(void);

#ifdef __cplusplus
}
#endif

// NOLINTEND(readability-identifier-naming)
