// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// Options that say which servant a request goes to, and for how long it may wait and run.
void add_dispatch(CLI::App& app, BrokerOptions& o);

}  // namespace mserve::broker
