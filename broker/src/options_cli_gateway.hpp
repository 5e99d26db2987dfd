// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// The options that begin with -p: kdb+ clients.
void add_gateway(CLI::App& app, BrokerOptions& all);

}  // namespace mserve::broker
