// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "mserve/shm/rendezvous.hpp"
#include "stat/control_call.hpp"

namespace mserve::stat {

/// What came of waiting for a drain or retire.
struct DrainOutcome {
  Result<ControlAnswer> answer;  ///< Of nothing but a signal: code `cancelled`.
  std::string reason;            ///< One sentence when there is no answer.
  int signal = 0;                ///< SIGINT or SIGTERM that ended the wait; 0: none did.
  bool silent = false;           ///< The broker had not answered for a while by then.
};

/// Has servants drained or retired and waits for it, request.timeout_ns at most. Asks the broker
/// first whether it answers at all, and again and again while it waits. SIGINT and SIGTERM end the
/// wait instead of the process. Threads: of a program that has one.
/// @param tell  is told, once for each such silence, that the broker does not answer.
[[nodiscard]] DrainOutcome call_drain(const BrokerName& broker, const shm::Control& request,
                                      const std::function<void(const std::string&)>& tell);

}  // namespace mserve::stat
