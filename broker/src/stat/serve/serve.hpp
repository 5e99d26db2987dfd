// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "stat/control_call.hpp"
#include "stat/serve/options.hpp"

namespace mserve::stat {

/// How serving ended.
enum class Served : std::uint8_t {
  stopped,      ///< By SIGTERM or SIGINT.
  wrong_usage,  ///< The address is none; told on stderr.
  refused,      ///< The address or port could not be had; told on stderr.
};

/// Serves HTTP until SIGTERM or SIGINT; the address is printed on stdout. There need be no broker.
[[nodiscard]] Served run_serve(const BrokerName& broker, const ServeOptions& options);

}  // namespace mserve::stat
