// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "dispatch/types.hpp"

namespace mserve::broker {

/// What started the broker, if that wants to know how it is: systemd with Type=notify, or whoever
/// else sets NOTIFY_SOCKET. Without one every call does nothing. None waits for a manager that does
/// not read. One thread.
class ServiceManager {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
  ServiceManager();

  /// How long it may hear nothing of alive() before it ends the broker; 0: it does not listen.
  [[nodiscard]] Nanos patience_ns() const noexcept { return patience_ns_; }
  /// @param status  one line for `systemctl status`.
  void ready(const std::string& status) noexcept;
  void stopping() noexcept;
  void alive() noexcept;
  /// To be called now and then: says once more what ready() or stopping() could not, because there
  /// was too much that the manager had not read.
  void repeat() noexcept;

 private:
  [[nodiscard]] int say(std::string text) noexcept;

  Nanos patience_ns_ = 0;
  std::string untold_{};
};

}  // namespace mserve::broker
