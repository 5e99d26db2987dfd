// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::servant {

/// A servant that is about to end has its broker send it nothing new first: what lies unread in its
/// ring when the session ends may have run, as far as the broker knows, and is lost. It is the
/// order that `mserve-stat ctl drain` gives, for oneself. Threads: one.
class Leaving {
 public:
  /// Asks, and waits for nothing but room in a socket, a tenth of a second at most. A broker that
  /// cannot be asked, or refuses as it is too old or another user's, is left as it is.
  /// @param broker      its name. @param directory  where its socket is; empty: by the rule.
  /// @param servant     the number that the broker gave us.
  /// @param timeout_ns  how long it may take; the broker answers then in any case.
  void begin(const std::string& broker, const std::string& directory, std::uint32_t servant,
             std::uint64_t timeout_ns);
  /// Whether the broker may still send something. Does not wait: a system call.
  [[nodiscard]] bool pending();

 private:
  shm::UniqueFd socket_{};
};

}  // namespace mserve::servant
