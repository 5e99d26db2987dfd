// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "own_etcd.hpp"
#include "rtt_run.hpp"
#include "trips.hpp"

namespace mserve::bench {
namespace {

class RttCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    add_payload_option(app, common);
    CLI::Option* const name = app.add_option("--name", s_.broker_name,
                                             "Measure this running broker with its own servants")
                                  ->option_text("NAME");
    app.add_option("--dir", s_.directory, "Rendezvous directory of that broker [env MSERVE_DIR]")
        ->needs(name)
        ->option_text("DIRECTORY");
    app.add_option("--mode", mode_, "Who plays client and servant")
        ->check(CLI::IsMember({"pair", "processes"}))
        ->excludes(name)
        ->option_text("pair|processes [pair]");
    app.add_flag("--pin", s_.pin,
                 "Processes mode: client and servant on core A, the broker on B, not where the "
                 "kernel likes");
    app.add_flag("--watched", s_.watched,
                 "Pair mode: also while mserve-stat top and a fetch of /metrics look ten times a "
                 "second");
    app.add_option("--cluster", etcd_,
                   "Pair mode: also with the broker in a cluster, with an etcd of its own; ETCD, "
                   "if given, is what to start")
        ->expected(0, 1)
        ->default_str("etcd")
        ->option_text("ETCD [etcd]");
    app.add_option("--idle", idle_,
                   "Without work: in pair mode the broker, else whatever we start [pair: spin, "
                   "else auto]")
        ->check(CLI::IsMember({"spin", "yield", "park", "auto"}))
        ->option_text("spin|yield|park|auto");
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }

  void complete() override {
    s_.idle = shm::parse_idle_strategy(idle_);
    s_.mode = !s_.broker_name.empty() ? Mode::running
              : mode_ == "processes"  ? Mode::processes
                                      : Mode::pair;
    if (s_.pin && s_.mode != Mode::processes) {
      throw UsageError("--pin goes with --mode processes; pair mode is always pinned");
    }
    if (s_.watched && s_.mode != Mode::pair) {
      throw UsageError("--watched goes with pair mode, where cores are pinned");
    }
    if (!etcd_.empty() && s_.mode != Mode::pair) {
      throw UsageError("--cluster goes with pair mode, where cores are pinned");
    }
    if (!etcd_.empty()) {
      s_.etcd_path = etcd_path_of(etcd_);
    }
    if (s_.mode == Mode::running && common.payload_bytes < kEchoCallBytesMin) {
      throw UsageError("with --name the payload is a call of echo: --payload " +
                       std::to_string(kEchoCallBytesMin) + " at least");
    }
    s_.payload_bytes = common.payload_bytes;
    s_.broker_path = broker_path_of(common);
    s_.cores = cores_of(common);
    s_.plan = probed_plan(common, s_.cores);
  }

  void run(Run& run) override { run_rtt(run, s_); }

 private:
  RttSettings s_;
  std::string mode_ = "pair";
  std::string idle_;
  std::string etcd_;  ///< Empty: no row in a cluster.
};

}  // namespace

std::unique_ptr<Subcommand> make_rtt() {
  return std::make_unique<RttCommand>();
}

}  // namespace mserve::bench
