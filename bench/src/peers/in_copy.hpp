// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace mserve::bench {

/// Runs `body` in a copy of this process and returns the bytes that it returned; empty when
/// interrupted(). Libraries that cannot be used on both sides of a fork (nng says so and aborts)
/// are thus opened once in each process. The copy gets SIGTERM when this process is interrupted or
/// ends, however it ends, and cleans up; Ctrl-C does not reach it.
/// The caller must be the only thread of its process. Throws std::runtime_error with the text of
/// what `body` threw, or when the copy ended without a result.
[[nodiscard]] std::string bytes_from_copy(const std::function<std::string()>& body);

/// The same for a value.
template <class Body>
auto in_copy(Body body) {
  using Result = decltype(body());
  static_assert(std::is_trivially_copyable_v<Result>);
  const std::string bytes = bytes_from_copy([&body] {
    const Result result = body();
    return std::string(reinterpret_cast<const char*>(&result), sizeof(result));
  });
  Result result{};
  if (bytes.size() == sizeof(result)) {
    std::memcpy(&result, bytes.data(), sizeof(result));
  }
  return result;
}

}  // namespace mserve::bench
