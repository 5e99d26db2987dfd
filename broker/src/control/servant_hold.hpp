// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace mserve::broker {

/// Why a servant gets nothing new. The reasons do not undo each other: it is suspended when the
/// first one appears and resumed when the last one goes. Belongs to the control thread.
class ServantHold {
 public:
  enum class Reason : std::uint8_t {
    stopped = 1,  ///< Its process is stopped, as the kernel says.
    paused = 2,   ///< An operator said so.
    spare = 4,    ///< It is of the reserve, and about to be stopped.
  };

  /// Notes that a reason appeared or went.
  /// @return true: suspend it now; false: resume it now; nothing: it stays as it is.
  [[nodiscard]] std::optional<bool> set(Reason reason, bool there) noexcept {
    const bool held = reasons_ != 0;
    const auto bit = static_cast<std::uint8_t>(reason);
    reasons_ = static_cast<std::uint8_t>(there ? reasons_ | bit : reasons_ & ~bit);
    if ((reasons_ != 0) == held) {
      return std::nullopt;
    }
    ++orders_;
    return !held;
  }
  [[nodiscard]] bool has(Reason reason) const noexcept {
    return (reasons_ & static_cast<std::uint8_t>(reason)) != 0;
  }

  /// Whether the data thread carried out every order that set() asked for, as Session::load says.
  [[nodiscard]] bool obeyed(std::uint64_t load) const noexcept { return load >> 32 == orders_; }

  /// Whether a session whose Session::load is `load` runs nothing and gets nothing: every order
  /// that set() asked for was carried out, the last one was to suspend it, and it ran dry.
  [[nodiscard]] bool dry(std::uint64_t load) const noexcept {
    return reasons_ != 0 && load == std::uint64_t{orders_} << 32;
  }

 private:
  std::uint8_t reasons_ = 0;
  std::uint32_t orders_ = 0;  ///< How often set() told the caller to act.
};

}  // namespace mserve::broker
