// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core_list.hpp"
#include "options.hpp"

namespace mserve::broker {

/// One process that the launcher starts, and starts again when it ends.
struct Program {
  /// From 1; what it belongs to. Its MSERVE_SERVANT. 0: to no servant, but to the broker itself.
  std::uint32_t servant = 0;
  std::string name;  ///< For the log, such as "q".
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> env;  ///< Added to the broker's.
  CoreList cores{};  ///< Where it is put; empty: LaunchOptions::avoid decides.
};

/// What the plan needs to know of the world; tests bring their own.
struct PlanContext {
  std::function<const char*(const char*)> env;         ///< As getenv().
  std::function<bool(const std::string&)> executable;  ///< A path, or a name on PATH.
  std::string own_directory;                           ///< Where mserve-broker lies.
  std::uint32_t port = 0;                              ///< Of -p; 0: none.
  /// The address by which a host sees this one; empty when its name says nothing.
  std::function<std::string(const std::string&)> address_towards;
};

/// With --cluster, mserve-cluster comes first, from beside mserve-broker or PATH. Then:
/// the programs of `N COMMAND [HOST...]`: N times COMMAND, or, where COMMAND is a q script, a q
/// process on each of the ports behind -p and a shim for it, with the environment that LLnC's
/// scripts give a servant: Q_SERVANTOF (the address that may connect) and Q_PLUGINS.
/// Each host gets a share of them, one behind the other, and counts its ports from -p on; of a
/// number that does not divide, the last hosts get more. `localhost` is this one; for the others
/// --launch starts q, and their shims attach as tier 1.
/// @param fault  one sentence that says what to do, when there is no plan.
/// @return the programs; none with an empty `fault` when nothing is to be launched.
[[nodiscard]] std::vector<Program> plan_programs(const BrokerOptions& options,
                                                 const PlanContext& context, std::string& fault);

/// Another program of mserve: beside ours, as installed and as built, else wherever PATH says.
[[nodiscard]] std::string own_program(const char* name, const PlanContext& context);

/// The real world, with the port that -p gave.
[[nodiscard]] PlanContext plan_context(std::uint32_t port);

}  // namespace mserve::broker
