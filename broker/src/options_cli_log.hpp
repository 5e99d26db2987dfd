// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// Options that say which requests are logged or traced.
void add_slow_and_trace(CLI::App& app, BrokerOptions& o);

}  // namespace mserve::broker
