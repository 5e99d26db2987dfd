// SPDX-License-Identifier: Apache-2.0
// Options that several subcommands share, and what they mean.
#include <CLI/CLI.hpp>

#include "child.hpp"
#include "subcommand.hpp"

namespace mserve::bench {
namespace {

std::string with_default(const char* what, double value) {
  std::ostringstream text;
  text << what << " [" << value << "]";
  return text.str();
}

}  // namespace

void add_common_options(CLI::App& app, Common& common) {
  app.add_option("--seconds", common.seconds,
                 "Time for all repetitions together, floors and probes included")
      ->check(CLI::Range(0.1, 86400.0))
      ->option_text(with_default("SECONDS", common.seconds));
  app.add_option("--repeat", common.repetitions, "Repetitions")
      ->check(CLI::Range(1, 1000))
      ->option_text(with_default("N", common.repetitions));
  add_file_options(app, common);
}

void add_file_options(CLI::App& app, Common& common) {
  app.add_option("--json", common.json_file,
                 "Also write everything to this file; - is stdout, behind the tables")
      ->option_text("FILE");
  app.add_option("--html", common.html_file,
                 "Also write one page with tables and drawings, which needs no other file")
      ->option_text("FILE");
  app.add_option("--svg", common.svg_file, "Also draw the figures")->option_text("FILE");
}

void add_payload_option(CLI::App& app, Common& common) {
  app.add_option("--payload", common.payload_bytes, "Bytes of payload each way")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 20))
      ->option_text(with_default("BYTES", static_cast<double>(common.payload_bytes)));
}

void add_cores_option(CLI::App& app, Common& common) {
  app.add_option("--cores,--core", common.cores, "A measures, B relays [two usable ones]")
      ->option_text("A,B");
}

void add_broker_path_option(CLI::App& app, Common& common) {
  app.add_option("--broker-path", common.broker_path,
                 "The mserve-broker to start [beside this program]")
      ->option_text("FILE");
}

CorePair cores_of(const Common& common) {
  const std::optional<CorePair> cores =
      common.cores.empty() ? choose_cores() : parse_core_pair(common.cores);
  if (!cores && !common.cores.empty()) {
    throw UsageError("--cores wants two different cores, such as 0,1; not '" + common.cores + "'");
  }
  if (!cores) {
    throw CannotMeasure(
        "this process may use one core only; floor and round trips need two. Look at taskset, "
        "cpusets and the container's limits.");
  }
  for (const int core : {cores->measuring, cores->relaying}) {
    if (const Pinned pinned(core); !pinned.ok()) {
      throw UsageError("cannot run on core " + std::to_string(core) +
                       ": the kernel refuses; see --cores");
    }
  }
  return *cores;
}

Plan probed_plan(const Common& common, const CorePair& cores) {
  return {common.seconds, common.repetitions, cores};
}

Plan plain_plan(const Common& common) {
  return {common.seconds, common.repetitions, std::nullopt};
}

std::string broker_path_of(const Common& common) {
  return common.broker_path.empty() ? find_tool("mserve-broker") : common.broker_path;
}

}  // namespace mserve::bench
