// SPDX-License-Identifier: Apache-2.0
// idle-clients, many and restarts: more than one client, or many servants.
#include <CLI/CLI.hpp>
#include <bit>

#include "child.hpp"
#include "commands/commands.hpp"
#include "idle_clients_run.hpp"
#include "many_run.hpp"
#include "restarts_run.hpp"
#include "usage.hpp"

namespace mserve::bench {
namespace {

class IdleClientsCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--clients", s_.clients, "Attached in the end, the busy one included")
        ->check(CLI::Range(2, 16000))
        ->option_text("N [1000]");
    app.add_option("--ring-size", s_.ring_bytes, "Ring of a client, each way, a power of two")
        ->transform(CLI::Validator(program::to_bytes, "SIZE"))
        ->check(CLI::Range(4096U, 1U << 20))
        ->option_text("BYTES [4k]");
    add_payload_option(app, common);
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    if (!std::has_single_bit(s_.ring_bytes)) {
      throw UsageError("--ring-size wants a power of two, such as 4k");
    }
    s_.payload_bytes = common.payload_bytes;
    s_.broker_path = broker_path_of(common);
    s_.cores = cores_of(common);
  }
  void run(Run& run) override { run_idle_clients(run, probed_plan(common, s_.cores), s_); }

 private:
  IdleClientsSettings s_;
};

class ManyCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--crowd", crowds_, "N clients and M servants, each a process, in turn")
        ->delimiter(',')
        ->option_text("NxM,... [1x1,8x2,8x8]");
    app.add_option("--idle", idle_, "Of clients, broker and servants")
        ->check(CLI::IsMember({"yield", "park", "auto"}))
        ->option_text("yield|park|auto [auto]");
    add_payload_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    for (const std::string& text : crowds_) {
      const std::optional<Crowd> crowd = parse_crowd(text);
      if (!crowd) {
        throw UsageError("--crowd wants two numbers of 1 to 256, such as 8x2; not '" + text + "'");
      }
      s_.crowds.push_back(*crowd);
    }
    s_.payload_bytes = common.payload_bytes;
    s_.idle = shm::parse_idle_strategy(idle_).value_or(shm::IdleStrategy::automatic);
    s_.broker_path = broker_path_of(common);
  }
  void run(Run& run) override { run_many(run, plain_plan(common), s_); }

 private:
  ManySettings s_;
  std::vector<std::string> crowds_ = {"1x1", "8x2", "8x8"};
  std::string idle_ = "auto";
};

class RestartsCommand final : public Subcommand {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("--servants", s_.servants, "Launched by the broker, killed and restarted")
        ->check(CLI::Range(1, 1000))
        ->option_text("N [82]");
    app.add_option("--within", within_s_, "From the first kill to the last, in seconds")
        ->check(CLI::Range(0.01, 600.0))
        ->option_text("SECONDS [2]");
    add_payload_option(app, common);
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }
  void complete() override {
    s_.within_ns = static_cast<std::uint64_t>(within_s_ * 1e9);
    s_.payload_bytes = common.payload_bytes;
    s_.broker_path = broker_path_of(common);
    s_.servant_path = find_tool("mserve-servant");
    s_.cores = cores_of(common);
  }
  void run(Run& run) override { run_restarts(run, probed_plan(common, s_.cores), s_); }

 private:
  RestartsSettings s_;
  double within_s_ = 2;
};

}  // namespace

std::unique_ptr<Subcommand> make_idle_clients() {
  return std::make_unique<IdleClientsCommand>();
}

std::unique_ptr<Subcommand> make_many() {
  return std::make_unique<ManyCommand>();
}

std::unique_ptr<Subcommand> make_restarts() {
  return std::make_unique<RestartsCommand>();
}

}  // namespace mserve::bench
