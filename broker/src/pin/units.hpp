// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "pin/plan.hpp"

namespace mserve::pin {

/// The flags of mserve-broker that put its threads, and the servants that it launches, on their
/// cores.
[[nodiscard]] std::vector<std::string> broker_flags(const Plan& plan);

/// Writes UNIT.d/10-cores.conf for mserve.slice, mserve-broker, and each mserve-servant@ and
/// mserve-qshim@ below `folder`, which is made if it is not there. Those that it wrote before for
/// servants that are no more are removed.
/// @return what went wrong; empty: nothing.
[[nodiscard]] std::string write_units(const Plan& plan, const std::string& folder);

}  // namespace mserve::pin
