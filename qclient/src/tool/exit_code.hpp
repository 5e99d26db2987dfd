// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "mserve/shm/errc.hpp"

namespace mserve::tool {

/// How mserve-client ends. Stable: scripts test them, --help lists them.
enum class ExitCode : std::uint8_t {
  ok = 0,         ///< Every query was answered with a result.
  error = 1,      ///< A servant answered with an error.
  usage = 2,      ///< Wrong options, or a query too large to be sent.
  no_broker = 3,  ///< No broker under that name, or the session was lost.
  timed_out = 4,  ///< No answer within --timeout.
  refused = 5,    ///< The broker answered instead of a servant: busy, no servant, shutdown, ...
};

/// The exit code for something that went wrong on the way; never ok.
[[nodiscard]] ExitCode exit_code_of(Errc code) noexcept;

}  // namespace mserve::tool
