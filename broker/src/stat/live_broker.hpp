// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mserve/shm/monitor.hpp"
#include "stat/control_call.hpp"
#include "stat/monitor_call.hpp"

namespace mserve::stat {

/// Whether there is a broker.
enum class Presence : std::uint8_t {
  there,  ///< It shows what it does.
  stuck,  ///< It has shown nothing new for kStaleNs: stopped, or its data thread hangs.
  gone,   ///< There is none, or one that shows nothing.
};
/// "ok", "stuck", "no_broker".
[[nodiscard]] const char* to_string(Presence presence) noexcept;

/// The broker of a name, whichever it is now, for whoever looks at it all the time. Nothing here
/// waits longer than 0.3 s. Threads: one.
class LiveBroker {
 public:
  explicit LiveBroker(BrokerName broker) : broker_(std::move(broker)) {}

  /// Looks again, and for a broker if there is none or another one.
  /// @return true: it is another than at the last look; then there is no View::before.
  bool look();

  [[nodiscard]] const BrokerName& broker() const noexcept { return broker_; }
  [[nodiscard]] Presence presence() const noexcept { return presence_; }
  /// One sentence, when it is not `there`.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  /// The last look and the one before it; null until a broker was there. Of one that is gone: what
  /// it showed at last.
  [[nodiscard]] const View* view() const noexcept { return seen_ ? &view_ : nullptr; }
  /// What it shows; null until a broker was there. Valid until the next look().
  [[nodiscard]] const shm::MonitorReader* reader() const noexcept {
    return reader_ ? &*reader_ : nullptr;
  }
  /// On the clock of shm::steady_now(): when it was last asked which broker is there.
  [[nodiscard]] std::uint64_t asked_at() const noexcept { return asked_at_; }

 private:
  enum class Found : std::uint8_t { none, same, another };
  [[nodiscard]] Found find();

  BrokerName broker_;
  std::optional<shm::MonitorReader> reader_;
  std::uint64_t asked_at_ = 0;
  Presence presence_ = Presence::gone;
  std::string reason_ = "nobody has looked yet";
  View view_{};
  bool seen_ = false;
};

}  // namespace mserve::stat
