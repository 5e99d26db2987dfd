// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "large_run.hpp"
#include "usage.hpp"

namespace mserve::bench {
namespace {

class LargeCommand final : public Subcommand {
 public:
  LargeCommand() {
    s_.sizes = {64U << 10, 1U << 20, 16U << 20, 64U << 20};
    common.seconds = 10;
    common.repetitions = 3;
  }

  void add_options(CLI::App& app) override {
    app.add_option("--sizes", s_.sizes, "Bytes of payload, in turn")
        ->delimiter(',')
        ->transform(CLI::Validator(program::to_bytes, "SIZE"))
        ->check(CLI::Range(std::uint64_t{64}, std::uint64_t{1} << 29))
        ->option_text("BYTES,... [64k,1m,16m,64m]");
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    s_.broker_path = broker_path_of(common);
    s_.cores = cores_of(common);
  }
  void run(Run& run) override { run_large(run, probed_plan(common, s_.cores), s_); }

 private:
  LargeSettings s_;
};

}  // namespace

std::unique_ptr<Subcommand> make_large() {
  return std::make_unique<LargeCommand>();
}

}  // namespace mserve::bench
