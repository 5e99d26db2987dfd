// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dispatch/types.hpp"

namespace mserve::broker {

/// Decides when servants of the reserve are started and stopped. Pure: it reads no clock and starts
/// nothing; whoever asks carries out what it says. Times in nanoseconds, of one clock that does not
/// go back. Belongs to the control thread.
///
/// A servant of the reserve is off, then started, then held (it gets nothing new, to see whether it
/// still runs something), then ending, and off again. At most one is held or ending at a time.
class Reserve {
 public:
  struct Settings {
    std::uint32_t first = 1;  ///< The Program::servant of the first of them,
    std::uint32_t count = 0;  ///< and how many there are. 0: there is no reserve.
    Nanos after = 0;          ///< The queue is old from this age on.
    Nanos idle = 0;           ///< kForever: none is stopped.
  };
  enum class State : std::uint8_t { off, started, held, ending, retired };

  explicit Reserve(const Settings& settings);

  [[nodiscard]] bool any() const noexcept { return !servants_.empty(); }
  [[nodiscard]] bool covers(std::uint32_t servant) const noexcept;
  /// Of one that is covered.
  [[nodiscard]] State state(std::uint32_t servant) const noexcept;
  /// Whether one of them is off, so that what is queued can wait for it.
  [[nodiscard]] bool can_start() const noexcept;
  /// The one that is held or ending.
  [[nodiscard]] std::optional<std::uint32_t> leaving() const noexcept;

  /// Whether to start one now: the queue is old, and the last start is Settings::after ago.
  /// @param queue_age  of the oldest queued request; 0: none is queued.
  /// @return the first that is off, which counts as started from here on.
  [[nodiscard]] std::optional<std::uint32_t> start(Nanos now, Nanos queue_age) noexcept;
  /// Whether to hold one now: none is leaving, the queue is not old, and it was not used for
  /// Settings::idle. @return of several the one that was started last; it is held from here on.
  [[nodiscard]] std::optional<std::uint32_t> hold(Nanos now, Nanos queue_age) noexcept;

  /// It ran something, attached, or is not to be stopped for another reason.
  void used(std::uint32_t servant, Nanos now) noexcept;
  /// How long it has not been used.
  [[nodiscard]] Nanos idle(std::uint32_t servant, Nanos now) const noexcept;
  /// The held one turned out to have work: it is started, and used.
  void keep(std::uint32_t servant, Nanos now) noexcept;
  /// The held one is told to end.
  void end(std::uint32_t servant) noexcept;
  /// The ending one is gone.
  void ended(std::uint32_t servant) noexcept;
  /// An operator retired it, for good.
  void retire(std::uint32_t servant) noexcept;

 private:
  struct One {
    State state = State::off;
    Nanos used = 0;
    std::uint64_t start = 0;  ///< Number of its start, to tell who was started last.
  };
  [[nodiscard]] One& of(std::uint32_t servant) noexcept {
    return servants_[servant - settings_.first];
  }
  [[nodiscard]] const One& of(std::uint32_t servant) const noexcept {
    return servants_[servant - settings_.first];
  }
  [[nodiscard]] std::uint32_t number_of(const One& one) const noexcept {
    return settings_.first + static_cast<std::uint32_t>(&one - servants_.data());
  }

  Settings settings_;
  std::vector<One> servants_;
  std::uint64_t starts_ = 0;
  Nanos started_at_ = 0;  ///< The last of them.
};

}  // namespace mserve::broker
