// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "wake_run.hpp"

namespace mserve::bench {
namespace {

class WakeCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--pause", pause_ms_, "Before each request")
        ->check(CLI::Range(0.1, 10000.0))
        ->option_text("MILLISECONDS [2]");
    app.add_option("--idle", idle_, "Of client, broker and servant")
        ->check(CLI::IsMember({"park", "auto"}))
        ->option_text("park|auto [auto]");
    app.add_option("--watch", s_.watch_seconds,
                   "How long the idle system is watched, in addition, up to three times")
        ->check(CLI::Range(0.05, 3600.0))
        ->option_text("SECONDS [1]");
    add_payload_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    s_.payload_bytes = common.payload_bytes;
    s_.pause_ns = static_cast<std::uint64_t>(pause_ms_ * 1e6);
    s_.idle = shm::parse_idle_strategy(idle_).value_or(shm::IdleStrategy::automatic);
    s_.broker_path = broker_path_of(common);
  }
  void run(Run& run) override { run_wake(run, plain_plan(common), s_); }

 private:
  WakeSettings s_;
  double pause_ms_ = 2;
  std::string idle_ = "auto";
};

}  // namespace

std::unique_ptr<Subcommand> make_wake() {
  return std::make_unique<WakeCommand>();
}

}  // namespace mserve::bench
