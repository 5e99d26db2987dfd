// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace mserve::test {

/// A control group (version 2) of a test's own with a memory limit and no swap, below this
/// process's or an ancestor of that, the first in which one can be made. What is still in it when
/// this ends is killed.
class SmallCgroup {
 public:
  explicit SmallCgroup(std::uint64_t bytes_max);
  ~SmallCgroup();
  SmallCgroup(const SmallCgroup&) = delete;
  SmallCgroup& operator=(const SmallCgroup&) = delete;

  /// What is missing here for one; empty: it was made.
  [[nodiscard]] const std::string& missing() const noexcept { return missing_; }
  /// Moves the calling process into it. For Spawn::prepare: safe after a fork.
  void enter() const noexcept;
  /// A number of memory.events, such as "oom_kill".
  [[nodiscard]] std::uint64_t events(const std::string& key) const;

 private:
  [[nodiscard]] bool make(const std::string& parent, std::uint64_t bytes_max);

  std::string path_;   ///< Empty: there is none.
  std::string procs_;  ///< Its cgroup.procs.
  std::string missing_;
};

}  // namespace mserve::test
