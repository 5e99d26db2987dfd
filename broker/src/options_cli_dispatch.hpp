// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// Options that say which servant a request goes to, and for how long it may wait and run.
/// @param rule_faults  gets what is wrong with each rule once they are read; outlives `app`.
void add_dispatch(CLI::App& app, BrokerOptions& o, std::vector<std::string>& rule_faults);

}  // namespace mserve::broker
