// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// Options that say which thread and which servant runs on which core.
void add_cores(CLI::App& app, BrokerOptions& o);

}  // namespace mserve::broker
