// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>

namespace mserve::bench {

/// A copy of this process that runs a function and ends. It dies with us, however we die, and has a
/// process group of its own, so that Ctrl-C reaches us alone. The caller must be the only thread of
/// its process.
class Forked {
 public:
  /// Throws std::system_error.
  explicit Forked(const std::function<void()>& body);
  ~Forked();  ///< Kills and collects it.
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_;
};

/// Zeroed memory that forked processes share.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes);  ///< Throws std::system_error.
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] void* data() const noexcept { return data_; }

 private:
  void* data_;
  std::size_t bytes_;
};

}  // namespace mserve::bench
