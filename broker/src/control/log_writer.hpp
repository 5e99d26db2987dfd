// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace mserve::broker {

/// Writes lines to a descriptor, and waits for nobody who is to read them: a stopped pager or a
/// hanging collector holds up no thread of the broker.
class LogWriter {
 public:
  /// @param fd  borrowed.
  explicit LogWriter(int fd) noexcept : fd_(fd) {}

  /// @return false: it was not written, or not to its end. Nobody reads, or the disk is full.
  /// @thread one at a time   @progress waits 20 ms at most, and not at all after a failure
  [[nodiscard]] bool write(std::string_view line) noexcept;

 private:
  [[nodiscard]] bool writable() noexcept;

  int fd_;
  bool patient_ = true;  ///< The last line could be written.
};

}  // namespace mserve::broker
