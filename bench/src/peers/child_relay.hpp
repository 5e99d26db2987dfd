// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>

#include <string>
#include <utility>
#include <vector>

#include "child.hpp"
#include "peers/peer.hpp"

namespace mserve::bench {

/// Looks only: whoever started the process collects it.
[[nodiscard]] inline bool has_ended(pid_t pid) noexcept {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
}

/// A relay that is a program of its own.
class ChildRelay final : public Relay {
 public:
  /// As Child.
  ChildRelay(std::vector<std::string> command, const std::string& log, Child::Ready how)
      : process_(std::move(command), log, how) {}

  [[nodiscard]] bool ended() override { return has_ended(process_.pid()); }

 private:
  Child process_;
};

}  // namespace mserve::bench
