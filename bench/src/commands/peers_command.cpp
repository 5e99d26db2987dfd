// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "commands/commands.hpp"
#include "peers/peers_run.hpp"

namespace mserve::bench {
namespace {

class PeersCommand final : public Subcommand {
 public:
  PeersCommand() { common.seconds = 60; }

  void add_options(CLI::App& app) override {
    app.add_option("--mode", mode_, "Who plays client and servant")
        ->check(CLI::IsMember({"pair", "processes", "both"}))
        ->option_text("pair|processes|both [both]");
    app.add_option("--only", only_, "These peers and no other: unix, tcp, boost, zmq, nng, haproxy")
        ->delimiter(',')
        ->option_text("PEER,...");
    app.add_flag("--tune", s_.tune,
                 "Try every setting of every peer first and take the one that is best here");
    app.add_option("--payload", common.payload_bytes, "Bytes of payload each way")
        ->check(CLI::Range(std::size_t{1}, kPeerPayloadBytesMax))
        ->option_text("BYTES [40]");
    add_cores_option(app, common);
    add_broker_path_option(app, common);
    add_common_options(app, common);
  }

  void complete() override {
    if (common.payload_bytes < 1 || common.payload_bytes > kPeerPayloadBytesMax) {
      throw UsageError(fmt::format("--payload: 1 to {} bytes", kPeerPayloadBytesMax));
    }
    s_.cores = cores_of(common);
    s_.plan = probed_plan(common, s_.cores);
    s_.payload_bytes = common.payload_bytes;
    if (mode_ != "processes") {
      s_.modes.push_back(PeerMode::pair);
    }
    if (mode_ != "pair") {
      s_.modes.push_back(PeerMode::processes);
    }
    std::vector<PeerKind> all = peer_catalogue(broker_path_of(common));
    for (const std::string& name : only_) {
      check_known(all, name);
    }
    for (PeerKind& kind : all) {
      if (s_.kinds.empty() || only_.empty() ||
          std::find(only_.begin(), only_.end(), kind.name) != only_.end()) {
        s_.kinds.push_back(std::move(kind));
      }
    }
  }

  void run(Run& run) override { run_peers(run, s_); }

 private:
  static void check_known(const std::vector<PeerKind>& all, const std::string& name) {
    std::string names;
    for (const PeerKind& kind : all) {
      if (name == kind.name) {
        if (!kind.missing.empty()) {
          throw CannotMeasure(name + ": " + kind.missing);
        }
        return;
      }
      names += (names.empty() ? "" : ", ") + std::string(kind.name);
    }
    throw UsageError("--only wants names of " + names + "; not '" + name + "'");
  }

  PeersSettings s_;
  std::string mode_ = "both";
  std::vector<std::string> only_;
};

}  // namespace

std::unique_ptr<Subcommand> make_peers() {
  return std::make_unique<PeersCommand>();
}

}  // namespace mserve::bench
