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
std::unique_ptr<Subcommand> make_idle_clients();
std::unique_ptr<Subcommand> make_many();
std::unique_ptr<Subcommand> make_restarts();
std::unique_ptr<Subcommand> make_failover();
std::unique_ptr<Subcommand> make_large();
std::unique_ptr<Subcommand> make_kdb();
std::unique_ptr<Subcommand> make_affinity();
std::unique_ptr<Subcommand> make_peers();
std::unique_ptr<Subcommand> make_hosts();
std::unique_ptr<Subcommand> make_all();

}  // namespace mserve::bench
