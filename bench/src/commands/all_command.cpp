// SPDX-License-Identifier: Apache-2.0
// all: every subcommand of the table, one after the other.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

class AllCommand final : public Subcommand {
 public:
  AllCommand() {
    common.seconds = 120;
    common.repetitions = 3;
  }

  void add_options(CLI::App& app) override {
    add_payload_option(app, common);
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override { (void)cores_of(common); }

  void run(Run& run) override {
    double shares = 0;
    for (const SubcommandEntry& entry : subcommands()) {
      shares += entry.share;
    }
    for (const SubcommandEntry& entry : subcommands()) {
      if (entry.share > 0 && !interrupted()) {
        run_one(run, entry, common.seconds * entry.share / shares);
      }
    }
  }

 private:
  void run_one(Run& run, const SubcommandEntry& entry, double seconds) const {
    const std::unique_ptr<Subcommand> one = entry.make();
    one->common = common;
    one->common.seconds = seconds;
    try {
      one->complete();
    } catch (const std::runtime_error& e) {
      run.add_warning(fmt::format("{} is left out: {}", entry.name, e.what()));
      return;
    }
    try {
      one->run(run);
    } catch (const std::exception& e) {
      run.add_failure(fmt::format("{} failed: {}", entry.name, e.what()));
    }
  }
};

}  // namespace

std::unique_ptr<Subcommand> make_all() {
  return std::make_unique<AllCommand>();
}

}  // namespace mserve::bench
