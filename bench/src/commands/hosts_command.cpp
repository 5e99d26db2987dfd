// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>

#include "commands/commands.hpp"
#include "hosts_report.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

class HostsCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--hosts", s_.hosts, "Clusters of so many hosts each")
        ->delimiter(',')
        ->check(CLI::Range(2, 1000))
        ->option_text("N,... [2,20,200]");
    app.add_option("--servants", s_.servants, "Servants of each host")
        ->check(CLI::Range(1, 64))
        ->option_text("N [4]");
    app.add_option("--load", s_.load_percent,
                   "In percent of what all servants do when each request is cold")
        ->check(CLI::Range(1.0, 300.0))
        ->option_text("PERCENT [100]");
    app.add_option("--skew", s_.skew, "Host k gets requests in proportion to 1 / k^EXPONENT")
        ->check(CLI::Range(0.0, 3.0))
        ->option_text("EXPONENT [0.5]");
    app.add_option("--credit", s_.credit, "Requests that a link may have under way")
        ->check(CLI::Range(1, 64))
        ->option_text("N [64]");
    app.add_option("--spill-after", spill_ms_, "As of the broker, in milliseconds")
        ->check(CLI::Range(0.0, 1e6))
        ->option_text("MILLISECONDS [20]");
    app.add_option("--requests", s_.requests,
                   "Of clients, in each cluster, before and again after a host is added")
        ->check(CLI::Range(100, 10'000'000))
        ->option_text("N [100000]");
    app.add_option("--seed", s_.seed, "What all that is random is made from")->option_text("N [1]");
    add_file_options(app, common);
  }

  void complete() override {
    constexpr double kNsPerMs = 1e6;
    s_.spill_ns = static_cast<std::uint64_t>(spill_ms_ * kNsPerMs);
  }

  void run(Run& run) override {
    print_heading(stdout, s_);
    for (const std::uint32_t hosts : s_.hosts) {
      results_.push_back(simulate_hosts(s_, hosts));
      if (interrupted()) {
        return;
      }
    }
    print_table(stdout, results_);
    changes_ = {simulate_joining(s_), simulate_leaving(s_)};
    if (interrupted()) {
      return;
    }
    print_changes(stdout, changes_);
    const auto refused = [](const auto& result) { return result.refused != 0; };
    if (std::any_of(results_.begin(), results_.end(), refused) ||
        std::any_of(changes_.begin(), changes_.end(), refused)) {
      run.add_warning("requests were refused, so more is asked than can be done: less --load");
    }
    for (Section& section : sections_of(results_, changes_)) {
      run.document().sections.push_back(std::move(section));
    }
  }

  [[nodiscard]] std::string json(const Document&) const override {
    return to_json(s_, results_, changes_);
  }

 private:
  HostsSettings s_;
  double spill_ms_ = 20;
  std::vector<HostsResult> results_;
  std::vector<HostsChange> changes_;
};

}  // namespace

std::unique_ptr<Subcommand> make_hosts() {
  return std::make_unique<HostsCommand>();
}

}  // namespace mserve::bench
