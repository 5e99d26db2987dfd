// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "child.hpp"
#include "commands/commands.hpp"
#include "failover_run.hpp"
#include "own_etcd.hpp"

namespace mserve::bench {
namespace {

class FailoverCommand final : public Subcommand {
 public:
  FailoverCommand() { common.seconds = 30; }

  void add_options(CLI::App& app) override {
    app.add_option("--rate", s_.per_second, "Requests per second")
        ->check(CLI::Range(10.0, 1e5))
        ->option_text("N [2000]");
    app.add_option("--window", s_.window, "Requests that may be under way")
        ->check(CLI::Range(1, 64))
        ->option_text("N [64]");
    app.add_option("--etcd", etcd_, "The etcd to start")->option_text("ETCD [etcd on PATH]");
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    s_.etcd_path = etcd_path_of(etcd_);
    s_.broker_path = broker_path_of(common);
    s_.servant_path = find_tool("mserve-servant");
  }
  void run(Run& run) override { run_failover(run, plain_plan(common), s_); }

 private:
  FailoverSettings s_;
  std::string etcd_ = "etcd";
};

}  // namespace

std::unique_ptr<Subcommand> make_failover() {
  return std::make_unique<FailoverCommand>();
}

}  // namespace mserve::bench
