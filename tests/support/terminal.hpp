// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "mserve/shm/unique_fd.hpp"
#include "support/process.hpp"

namespace mserve::test {

/// A program on a terminal of its own, which it is the one to be interrupted at.
class Terminal {
 public:
  /// @param spawn  without paths for the output: all three are the terminal.
  explicit Terminal(Spawn spawn);

  [[nodiscard]] Process& process() noexcept { return process_; }
  /// What somebody types: "\r" is Enter, "\x03" Ctrl-C.
  void type(std::string_view keys);
  /// Waits until `text` appears behind what was waited for before; else fails the test.
  [[nodiscard]] bool shows(const std::string& text);
  /// All that appeared until now.
  [[nodiscard]] const std::string& shown();
  /// Whether the terminal shows what is typed.
  [[nodiscard]] bool echoes() const;

 private:
  shm::UniqueFd master_;
  shm::UniqueFd slave_;  ///< Held, so that what was set stays after the program's end.
  Process process_;
  std::string shown_;
  std::size_t seen_ = 0;  ///< How much of it was waited for.
};

}  // namespace mserve::test
