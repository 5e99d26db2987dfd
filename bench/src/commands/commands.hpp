// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "subcommand.hpp"

namespace mserve::bench {

std::unique_ptr<Subcommand> make_floor();
std::unique_ptr<Subcommand> make_rtt();
std::unique_ptr<Subcommand> make_throughput();
std::unique_ptr<Subcommand> make_open_loop();
std::unique_ptr<Subcommand> make_wake();
std::unique_ptr<Subcommand> make_kdb();
std::unique_ptr<Subcommand> make_affinity();

}  // namespace mserve::bench
