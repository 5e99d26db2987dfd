// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concurrentqueue.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

#include "data/request_stamps.hpp"
#include "data/session.hpp"
#include "dispatch/types.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"
#include "placement/placement.hpp"

namespace mserve::broker {

// What control thread, data thread and waker thread tell each other. A session travels by pointer
// when it changes hands (attach, detached) and by number and generation otherwise, because the data
// thread may have given it back while a command about it was still on its way.

/// Control thread to data thread.
struct Command {
  enum class Kind : std::uint8_t {
    attach,  ///< `session` is the data thread's from here on.
    detach,  ///< Its peer is gone: close it, if that did not happen already.
    /// It gets nothing new (until resume). `flag`: an operator said so, so what is bound to it
    /// (--sticky) goes elsewhere; else its process is stopped.
    suspend,
    resume,
    retire,             ///< It is suspended and runs nothing: close it for good.
    servants_expected,  ///< `classes`: launched servants of these are on their way.
    drain,              ///< Refuse new requests; report `drained` when nothing is left.
    drain_expired,      ///< Fail what is left, report `drained`.
    /// `dispatch`, `number` retries, `origin_requests_max`, `deadline` and `stamps` hold from here
    /// on. `flag`: there are users, so that not everybody may say who asks.
    options,
    pool_defined,   ///< `pool`, to the Dispatcher.
    class_defined,  ///< `defined`, to the Dispatcher.
    placement,      ///< `placement` holds from here on; null: every request is of class 0.
    beat,           ///< Show that you live: DataPlane::beats() becomes `number`.
    lend,           ///< Leave the loop for a while; see DataLoan.
    stop,           ///< Leave the loop.
  };
  Kind kind = Kind::attach;
  bool flag = false;
  Session* session = nullptr;    ///< attach only.
  std::uint32_t number = 0;      ///< detach, suspend, resume, retire: which session (see others),
  std::uint32_t generation = 0;  ///< and which of its lives.
  Options dispatch;              ///< options only.
  std::uint32_t origin_requests_max = kNone;  ///< options only; as in Limits.
  std::uint64_t classes = 0;  ///< servants_expected only; as ServantsExpected has it.
  shm::DeadlineExt deadline;  ///< options only; kForever: none.
  StampTerms stamps;          ///< options only.
  PoolDefined pool{};
  ClassDefined defined{};
  std::shared_ptr<const Placement> placement;
};

/// Data thread to control thread.
struct Report {
  enum class Kind : std::uint8_t {
    detached,  ///< Once per session: it is the control thread's again; `code` and `where` say why.
    drained,
  };
  Kind kind = Kind::detached;
  Errc code = Errc::ok;
  const char* where = "";  ///< A literal.
  Session* session = nullptr;
};

/// Data thread to waker thread, in order: wakes for a session come before its last report.
struct Wake {
  enum class Kind : std::uint8_t {
    know,    ///< `session` is attached.
    peer,    ///< The peer of `session` sleeps: wake it.
    report,  ///< Pass the report on to the control thread; use its session (if any) no more.
  };
  Kind kind = Kind::peer;
  Session* session = nullptr;
  Report report;
};

template <class T>
using Queue = moodycamel::ConcurrentQueue<T>;

/// Hands the data thread a command and wakes it. @param command_fd  its eventfd.
inline void tell(Queue<Command>& commands, int command_fd, const Command& command) {
  commands.enqueue(command);
  const std::uint64_t one = 1;
  (void)!write(command_fd, &one, sizeof(one));
}

}  // namespace mserve::broker
