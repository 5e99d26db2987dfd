// SPDX-License-Identifier: Apache-2.0
// throughput and open-loop: many requests under way.
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "load_run.hpp"

namespace mserve::bench {
namespace {

/// What both can be asked for.
class LoadCommand : public Subcommand {
 public:
  void complete() override {
    load_.processes = mode_ == "processes";
    load_.payload_bytes = common.payload_bytes;
    load_.broker_path = broker_path_of(common);
    load_.cores = cores_of(common);
  }

 protected:
  void add_load_options(CLI::App& app) {
    app.add_option("--mode", mode_,
                   "Client and servant are one thread opposite the broker, or all are processes")
        ->check(CLI::IsMember({"pair", "processes"}))
        ->option_text("pair|processes [pair]");
    add_payload_option(app, common);
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }

  LoadSettings load_;

 private:
  std::string mode_ = "pair";
};

class ThroughputCommand final : public LoadCommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--window", load_.window, "Requests under way")
        ->check(CLI::Range(1, 4096))
        ->option_text("N [64]");
    add_load_options(app);
  }
  void run(Run& run) override { run_throughput(run, probed_plan(common, load_.cores), load_); }
};

class OpenLoopCommand final : public LoadCommand {
 public:
  OpenLoopCommand() { common.seconds = 10; }

  void add_options(CLI::App& app) override {
    CLI::Option* const load =
        app.add_option(
               "--load", s_.percents,
               "Rates, in percent of the most that the same loop can send, which is measured first")
            ->delimiter(',')
            ->check(CLI::Range(0.01, 200.0))
            ->option_text("PERCENT,... [10,50,80,90]");
    app.add_option("--rate", s_.rates, "Rates, in requests per second, instead of --load")
        ->delimiter(',')
        ->check(CLI::Range(1.0, 1e9))
        ->excludes(load)
        ->option_text("N,...");
    app.add_option("--arrivals", arrivals_, "Random, as from many independent clients, or even")
        ->check(CLI::IsMember({"poisson", "even"}))
        ->option_text("poisson|even [poisson]");
    app.add_option("--seed", s_.seed, "What the arrivals are made from; each repetition has others")
        ->option_text("N [1]");
    add_load_options(app);
  }
  void complete() override {
    LoadCommand::complete();
    s_.load = load_;
    s_.poisson = arrivals_ == "poisson";
  }
  void run(Run& run) override { run_open_loop(run, probed_plan(common, load_.cores), s_); }

 private:
  OpenLoopSettings s_;
  std::string arrivals_ = "poisson";
};

}  // namespace

std::unique_ptr<Subcommand> make_throughput() {
  return std::make_unique<ThroughputCommand>();
}

std::unique_ptr<Subcommand> make_open_loop() {
  return std::make_unique<OpenLoopCommand>();
}

}  // namespace mserve::bench
