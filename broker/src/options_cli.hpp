// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "options.hpp"
#include "reload.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// What the options of mserve-broker are stored to, before it is looked at as a whole.
struct GivenOptions {
  BrokerOptions options{};
  std::string servant_args{};
  std::string q_args{};
  std::string file{};  ///< Of --config.
  bool check = false;
  std::vector<std::string> rule_faults{};  ///< Of --rule; its rules count only without one.
};

/// All options of mserve-broker. @param given  outlives `app`.
void add_options(CLI::App& app, GivenOptions& given);

/// Where clients and servants find the broker. Servants get it as MSERVE_DIR, and may run
/// elsewhere: so it is absolute. A relative MSERVE_DIR means another place to each program, so it
/// stays as it is, to be refused.
/// @param given  by --dir; empty: the rule of shm/directory.hpp.
[[nodiscard]] std::string rendezvous_directory(const std::string& given);

/// What a broker was told by command line, environment, its cluster's document and its
/// configuration file, in this order of precedence.
struct CommandLine {
  BrokerOptions options{};
  std::vector<Setting> values{};  ///< Every key, given or not, always in the same order.
  std::string document{};         ///< Path of the document; empty: there is none.
  bool check = false;             ///< It is to be printed, and that is all.
};

/// Reads all of them. Prints help, version and every fault by itself, and sets the log's level. A
/// document with faults is told of and does not count: the broker starts as
/// if it were not there.
/// @return nothing to go on, or the exit code to end with.
[[nodiscard]] std::optional<int> read_command_line(int argc, char** argv, CommandLine& line);

/// What --check prints: a configuration file that says the same.
void print_configuration(const CommandLine& line);

/// Reads all of them again, for SIGHUP. `current` follows when Reloaded::applied is called.
[[nodiscard]] Reloaded reload(int argc, char** argv, CommandLine& current);

}  // namespace mserve::broker
