// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace mserve::shm {

/// What a thread does when it finds no work.
enum class IdleStrategy : std::uint8_t {
  spin,       ///< Burns its core; lowest latency where every spinner has a core of its own.
  yield,      ///< Offers its core to others all the time, never sleeps.
  park,       ///< Looks for a short while, then sleeps; for many processes per core.
  automatic,  ///< "auto": by the cores that the process may use.
};

/// `spin`, `yield`, `park` or `auto`; nothing else.
[[nodiscard]] std::optional<IdleStrategy> parse_idle_strategy(std::string_view text) noexcept;
/// The word that parse_idle_strategy() takes.
[[nodiscard]] const char* to_string(IdleStrategy strategy) noexcept;

/// Cores that this thread may run on (its affinity mask), at least 1. Ask before pinning.
[[nodiscard]] int usable_cores() noexcept;

/// Tells the processor that this is a wait loop, where it has a hint for that (x86).
inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// How many empty passes of each kind come before the next; kForever never ends.
struct IdleBudget {
  static constexpr std::uint32_t kForever = UINT32_MAX;
  std::uint32_t spins = 0;   ///< Passes with cpu_pause().
  std::uint32_t yields = 0;  ///< Then passes with sched_yield(); after them: park.
};

/// The budget of a strategy. With fewer cores than spinners `automatic` does not spin at all: it
/// would hold the core that its peer needs; 200 yields before sleeping measured best there. With
/// enough cores it spins some tens of microseconds first.
/// @param cores     usable_cores(), or what the caller knows better.
/// @param spinners  threads on the path of a message that wait the same way, this one included;
///                  client, broker and servant make 3.
[[nodiscard]] IdleBudget idle_budget(IdleStrategy strategy, int cores, int spinners) noexcept;

/// Decides, pass by pass, what an idle thread does. One per thread.
class Idler {
 public:
  enum class Step : std::uint8_t {
    again,  ///< Look for work once more.
    park,   ///< The budget is used up: prepare to sleep, look once more, sleep.
  };

  explicit Idler(IdleBudget budget) noexcept : budget_(budget) {}
  explicit Idler(IdleStrategy strategy, int spinners = 3) noexcept
      : Idler(idle_budget(strategy, usable_cores(), spinners)) {}

  /// To be called after each pass without work. Pauses or yields by itself, never sleeps. After
  /// park it says park again until reset().
  Step idle() noexcept {
    if (spun_ < budget_.spins) [[likely]] {
      spun_ += budget_.spins != IdleBudget::kForever ? 1U : 0U;
      cpu_pause();
      return Step::again;
    }
    if (yielded_ < budget_.yields) {
      yielded_ = budget_.yields != IdleBudget::kForever ? yielded_ + 1 : 1;
      sched_yield();
      return Step::again;
    }
    return Step::park;
  }

  /// To be called after a pass with work.
  void reset() noexcept {
    spun_ = 0;
    yielded_ = 0;
  }

  /// True when idle() yielded since reset(): from one pass to the next others may hold the core for
  /// milliseconds, so what is due by the clock must not be counted in passes.
  [[nodiscard]] bool yields() const noexcept { return yielded_ != 0; }

  /// True when idle() can ever say park; otherwise nobody needs to wake this thread.
  [[nodiscard]] bool ever_parks() const noexcept {
    return budget_.spins != IdleBudget::kForever && budget_.yields != IdleBudget::kForever;
  }

 private:
  IdleBudget budget_;
  std::uint32_t spun_ = 0;
  std::uint32_t yielded_ = 0;
};

}  // namespace mserve::shm
