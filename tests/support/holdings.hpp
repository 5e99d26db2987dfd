// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <ostream>
#include <string>

namespace mserve::test {

/// What a process holds of the kind that a crash beside it could leave behind.
struct Holdings {
  std::size_t descriptors = 0;  ///< All of them.
  std::size_t sockets = 0;      ///< Those that are sockets.
  std::size_t pidfds = 0;
  std::size_t memfds = 0;    ///< Descriptors of segments.
  std::size_t segments = 0;  ///< Segments that are mapped, counted by mapping.

  bool operator==(const Holdings&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Holdings& holdings);

/// By /proc; all zero when there is no such process, or it is somebody else's.
[[nodiscard]] Holdings holdings_of(pid_t pid);

/// Waits until a process holds what it held before. @return false, and the running test has failed.
bool expect_holdings(pid_t pid, const Holdings& before, const std::string& whose);

/// Resident memory in bytes, without pages of files and shared memory; 0 when unknown.
[[nodiscard]] std::size_t private_bytes_of(pid_t pid);

}  // namespace mserve::test
