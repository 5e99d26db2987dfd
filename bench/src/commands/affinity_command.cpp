// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "affinity_run.hpp"
#include "commands/commands.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

class AffinityCommand final : public Subcommand {
 public:
  AffinityCommand() {
    common.seconds = 75;
    common.repetitions = 3;
  }

  void add_options(CLI::App& app) override {
    app.add_option("--servants", s_.stage.servants, "Servants")
        ->check(CLI::Range(1, 64))
        ->option_text("N [4]");
    app.add_option("--clients", s_.stage.clients, "Clients that share the arrivals")
        ->check(CLI::Range(1, 64))
        ->option_text("N [4]");
    add_routes(app);
    app.add_option("--seed", s_.seed, "What the arrivals are made from; each repetition has others")
        ->option_text("N [1]");
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }

  void complete() override {
    for (const std::string& text : routes_) {
      std::optional<AffinityCase> at = parse_affinity_case(text);
      if (!at) {
        throw UsageError("--routes wants two numbers of 1 to 65536, such as 64/16; not '" + text +
                         "'");
      }
      for (const double exponent : {0.0, zipf_}) {
        at->exponent = exponent;
        s_.cases.push_back(*at);
      }
    }
    s_.seconds = common.seconds;
    s_.repetitions = common.repetitions;
    s_.stage.warm_ns = static_cast<std::uint64_t>(warm_us_ * 1000);
    s_.stage.cold_ns = static_cast<std::uint64_t>(cold_us_ * 1000);
    s_.stage.broker_path = broker_path_of(common);
  }

  void run(Run& run) override {
    report_ = run_affinity(s_);
    if (interrupted()) {
      return;
    }
    for (Section& section : sections_of(report_)) {
      run.document().sections.push_back(std::move(section));
    }
    run.document().pictures.push_back({"what routing gains", to_svg(report_)});
  }

  [[nodiscard]] std::string json(const Document&) const override { return to_json(report_); }
  [[nodiscard]] std::string svg(const Document&) const override { return to_svg(report_); }

 private:
  void add_routes(CLI::App& app) {
    app.add_option("--routes", routes_,
                   "Cases: how many routes there are, and how many a servant keeps warm")
        ->delimiter(',')
        ->option_text("R/WARM,... [4/1,64/16]");
    app.add_option("--zipf", zipf_,
                   "Each case once uniformly and once with route k in proportion to 1 / k^EXPONENT")
        ->check(CLI::Range(0.01, 10.0))
        ->option_text("EXPONENT [1.1]");
    app.add_option("--load", s_.loads,
                   "In percent of what the servants do when every request is cold")
        ->delimiter(',')
        ->check(CLI::Range(1.0, 100.0))
        ->option_text("PERCENT,... [30,60,85]");
    app.add_option("--warm", warm_us_, "What a request of a warm route takes")
        ->check(CLI::Range(0.0, 1e6))
        ->option_text("MICROSECONDS [50]");
    app.add_option("--cold", cold_us_, "What any other request takes")
        ->check(CLI::Range(100.0, 1e6))
        ->option_text("MICROSECONDS [1000]");
  }

  AffinitySettings s_;
  AffinityReport report_;
  std::vector<std::string> routes_ = {"4/1", "64/16"};
  double zipf_ = 1.1;
  double warm_us_ = 50;
  double cold_us_ = 1000;
};

}  // namespace

std::unique_ptr<Subcommand> make_affinity() {
  return std::make_unique<AffinityCommand>();
}

}  // namespace mserve::bench
