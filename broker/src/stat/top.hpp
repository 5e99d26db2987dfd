// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "stat/control_call.hpp"

namespace mserve::stat {

/// A live picture of a broker on this terminal, until `q`. It waits for a broker that is not there,
/// and finds the next one after a restart.
/// @param interval_s  0.1 to 3600.
/// @return false: there is no terminal, or one that ncurses does not know; told on stderr.
[[nodiscard]] bool run_top(const BrokerName& broker, double interval_s);

}  // namespace mserve::stat
