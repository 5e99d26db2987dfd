// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "rtt_run.hpp"

namespace mserve::bench {
namespace {

class FloorCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    add_payload_option(app, common);
    add_cores_option(app, common);
    add_common_options(app, common);
  }
  void complete() override { cores_ = cores_of(common); }
  void run(Run& run) override {
    run_floor(run, probed_plan(common, cores_), cores_, common.payload_bytes);
  }

 private:
  CorePair cores_;
};

}  // namespace

std::unique_ptr<Subcommand> make_floor() {
  return std::make_unique<FloorCommand>();
}

}  // namespace mserve::bench
