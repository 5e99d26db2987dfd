// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::bench {

/// The two cores of a measurement: who measures, and who relays.
struct CorePair {
  int measuring = 0;
  int relaying = 1;
  /// Both are threads of one physical core; latencies then say little about two cores.
  bool siblings = false;
};

/// Cores that this process may use, ascending.
[[nodiscard]] std::vector<int> usable_core_list();

/// Cores named in a kernel list such as "0-2,5"; empty when the text is no such list.
[[nodiscard]] std::vector<int> parse_core_list(std::string_view text);

/// "A,B", two different cores; nothing when the text is anything else.
[[nodiscard]] std::optional<CorePair> parse_core_pair(std::string_view text);

/// Two usable cores, of different physical cores where there are any.
/// @return nothing when only one core may be used.
[[nodiscard]] std::optional<CorePair> choose_cores();

/// Whether two cores are hardware threads of one physical core, as far as the kernel tells.
[[nodiscard]] bool are_siblings(int a, int b);

/// Pins the calling thread. @return false when the kernel refuses.
bool pin_to(int core) noexcept;

/// Pins the calling thread while it lives, then restores where it might run before. Processes must
/// be started outside of it: they inherit the mask.
class Pinned {
 public:
  explicit Pinned(int core) noexcept;
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  cpu_set_t before_{};
  bool saved_ = false;
  bool ok_ = false;
};

/// Pinned, or nothing at all.
class PinnedIf {
 public:
  PinnedIf(bool pin, int core) {
    if (pin) {
      pinned_.emplace(core);
    }
  }

 private:
  std::optional<Pinned> pinned_;
};

}  // namespace mserve::bench
