// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "mserve/client/client.hpp"
#include "mserve/client/options.hpp"
#include "tool/output.hpp"

namespace mserve::tool {

/// The command line of mserve-client.
struct Settings {
  ClientOptions client;
  OutputStyle style;
  std::optional<std::string> query;
  bool repeatable = true;
  std::uint64_t timeout_ns = 30'000'000'000;  ///< 0: wait for ever.
  /// When all of a run with one query is to be over, absolute; 0: each query has timeout_ns.
  std::uint64_t until_ns = 0;

  /// The absolute deadline of a query sent now; 0: none.
  [[nodiscard]] std::uint64_t deadline_ns() const noexcept {
    const std::chrono::nanoseconds span(static_cast<std::int64_t>(timeout_ns));
    return until_ns != 0 ? until_ns : timeout_ns == 0 ? 0 : deadline_after(span);
  }
};

/// Parses the command line. @return an exit code when the program is to end now: after --help, or
/// after an error, which was printed.
[[nodiscard]] std::optional<int> parse_settings(int argc, char** argv, Settings& settings);

}  // namespace mserve::tool
