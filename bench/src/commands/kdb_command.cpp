// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "child.hpp"
#include "commands/commands.hpp"
#include "kdb_run.hpp"

namespace mserve::bench {
namespace {

class KdbCommand final : public Subcommand {
 public:
  KdbCommand() { common.seconds = 10; }

  void add_options(CLI::App& app) override {
    add_payload_option(app, common);
    add_broker_path_option(app, common);
    app.add_option("--standin-path", s_.standin_path,
                   "What plays the q process; built with the tests [beside this program]")
        ->option_text("FILE");
    add_common_options(app, common);
  }

  void complete() override {
    s_.payload_bytes = common.payload_bytes;
    s_.plan = plain_plan(common);
    s_.broker_path = broker_path_of(common);
    s_.shim_path = find_tool("mserve-qshim");
    if (s_.standin_path.empty()) {
      s_.standin_path = find_tool("mserve-standin");
    }
    for (const char* const path : {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"}) {
      s_.haproxy_path = s_.haproxy_path.empty() && access(path, X_OK) == 0 ? path : s_.haproxy_path;
    }
    if (access(s_.standin_path.c_str(), X_OK) != 0) {
      throw UsageError("there is no " + s_.standin_path +
                       ": it is built with the tests; see --standin-path");
    }
  }

  void run(Run& run) override { run_kdb(run, s_); }

 private:
  KdbSettings s_;
};

}  // namespace

std::unique_ptr<Subcommand> make_kdb() {
  return std::make_unique<KdbCommand>();
}

}  // namespace mserve::bench
