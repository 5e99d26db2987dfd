// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "pin/plan.hpp"

namespace mserve::pin {

/// The plan as a TOML file, with a word on each choice.
/// @param made_by  the command line that asked for it.
[[nodiscard]] std::string write_plan(const Plan& plan, const std::string& made_by);

/// Reads such a file, which somebody may have changed. Comments are not kept.
/// @param name   of the file, for faults.
/// @param fault  "NAME[:LINE]: what is wrong"; there is no plan then. Refused are unknown keys,
/// numbers
///               that are none, and a core that the data thread or the gateway would share.
[[nodiscard]] std::optional<Plan> read_plan(const std::string& text, const std::string& name,
                                            std::string& fault);

}  // namespace mserve::pin
