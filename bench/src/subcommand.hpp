// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "cores.hpp"
#include "run.hpp"

namespace CLI {
class App;
}

namespace mserve::bench {

/// Wrong options; the text says which, and what they should be. Exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// This machine cannot show it, or there is no broker of that name, of which all tools say it with
/// 3; the text says why. Exit code 3.
struct CannotMeasure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What most subcommands can be asked for. Set the defaults before the options are added: `--help`
/// tells them.
struct Common {
  double seconds = 5;  ///< All repetitions together.
  int repetitions = 5;
  std::size_t payload_bytes = 40;
  std::string cores;  ///< "A,B"; empty: choose.
  std::string broker_path;
  std::string json_file;  ///< Empty: none; "-": stdout.
  std::string html_file;
  std::string svg_file;
};

/// One subcommand: its options and what it does. Adding one: a file in src/commands with a class
/// of this kind and a function that makes it, and a line in the table of subcommands.cpp.
class Subcommand {
 public:
  virtual ~Subcommand() = default;
  Subcommand(const Subcommand&) = delete;
  Subcommand& operator=(const Subcommand&) = delete;

  virtual void add_options(CLI::App& app) = 0;
  /// Checks what was asked for, once the options are known. Throws UsageError or CannotMeasure.
  virtual void complete() = 0;
  /// Measures. Returns early when interrupted(). Failures are thrown as std::exception with a text
  /// for the user.
  virtual void run(Run& run) = 0;

  /// What `--json` and `--svg` write; `affinity` has forms of its own, `hosts` a form of JSON.
  [[nodiscard]] virtual std::string json(const Document& document) const {
    return to_json(document);
  }
  [[nodiscard]] virtual std::string svg(const Document& document) const { return to_svg(document); }

  Common common;

 protected:
  Subcommand() = default;
};

/// A line of the table.
struct SubcommandEntry {
  const char* name;
  const char* about;  ///< One line, for the list of subcommands.
  const char* help;   ///< What `NAME --help` says first.
  std::unique_ptr<Subcommand> (*make)();
  double share;  ///< Of the time of `all`; 0: not part of it.
};
[[nodiscard]] std::span<const SubcommandEntry> subcommands() noexcept;

/// --seconds, --repeat, and those of add_file_options().
void add_common_options(CLI::App& app, Common& common);
/// --json, --html, --svg.
void add_file_options(CLI::App& app, Common& common);
void add_payload_option(CLI::App& app, Common& common);
void add_cores_option(CLI::App& app, Common& common);
void add_broker_path_option(CLI::App& app, Common& common);

/// The two cores that were asked for, or two that suit. Throws UsageError or CannotMeasure.
[[nodiscard]] CorePair cores_of(const Common& common);
/// With line probes between these cores.
[[nodiscard]] Plan probed_plan(const Common& common, const CorePair& cores);
[[nodiscard]] Plan plain_plan(const Common& common);
/// What was asked for, or mserve-broker beside this program.
[[nodiscard]] std::string broker_path_of(const Common& common);

}  // namespace mserve::bench
