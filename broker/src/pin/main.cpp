// SPDX-License-Identifier: Apache-2.0
// mserve-pin: what a machine costs in latency, which cores to use, and a broker on them.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "pin/commands.hpp"
#include "version.hpp"

namespace {

using mserve::pin::AuditOptions;
using mserve::pin::ExitCode;

constexpr const char* kAbout =
    "Looks at a machine as a low-latency engineer would, proposes cores, and puts mserve on "
    "them.\n\n"
    "  mserve-pin audit                              what it costs as it is, and how to mend it\n"
    "  mserve-pin audit --cores 2,3 --seconds 10     two cores, a longer look at their jitter";

constexpr const char* kFooter =
    "Exit status: 0 done (audit: examined, whatever was found), 1 failed, 2 wrong usage, 3 "
    "something costs (audit --strict).";

constexpr const char* kAuditAbout =
    "One line for each thing that was looked at: ok, costs or unknown (it cannot be seen from "
    "here),\nwhat was seen, [where], what it costs, how to mend it. Then what a spinning thread "
    "saw on each\ncore: gaps between two looks at the clock. It changes nothing but where it runs "
    "itself.\nCosts are orders of magnitude; the jitter is measured.";

void describe_audit(CLI::App& app, AuditOptions& o) {
  CLI::App* const audit = app.add_subcommand("audit", kAuditAbout);
  audit->add_option("--cores", o.cores, "Cores to look at, as the kernel counts them")
      ->option_text("LIST [those this process may use]");
  constexpr double kSecondsMax = 3600;
  audit
      ->add_option("--seconds", o.seconds,
                   "How long to spin on each core, one after the other; 0: not")
      ->check(CLI::Range(0.0, kSecondsMax))
      ->option_text("SECONDS [1]");
  audit->add_flag("--json", o.json, "One line of JSON: cores, findings, jitter");
  audit->add_flag("--strict", o.strict, "End with status 3 if something costs");
  audit
      ->add_option(
          "--root", o.root,
          "Directory with the /sys and /proc of another machine, for tests; no jitter then")
      ->option_text("DIR [this machine]");
}

}  // namespace

int main(int argc, char** argv) try {
  AuditOptions audit;
  CLI::App app(kAbout, "mserve-pin");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-pin ") + mserve::broker::kVersion);
  app.require_subcommand(1);
  describe_audit(app, audit);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  return static_cast<int>(run_audit(audit));
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-pin: %s\n", e.what());
  return 1;
}
