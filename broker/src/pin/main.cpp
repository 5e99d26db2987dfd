// SPDX-License-Identifier: Apache-2.0
// mserve-pin: what a machine costs in latency, which cores to use, and a broker on them.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "mserve/shm/standard_descriptors.hpp"
#include "pin/commands.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace {

using mserve::pin::AuditOptions;
using mserve::pin::ExitCode;
using mserve::pin::GatewayPlace;
using mserve::pin::PlanOptions;
using mserve::pin::RunOptions;

constexpr const char* kAbout =
    "Looks at a machine as a low-latency engineer would, proposes cores, and puts mserve on "
    "them.\n\n"
    "  mserve-pin audit                              what it costs as it is, and how to mend it\n"
    "  mserve-pin audit --cores 2,3 --seconds 10     two cores, a longer look at their jitter\n"
    "  mserve-pin plan --servants 4 -o mserve.plan   which cores for broker, gateway and servants\n"
    "  mserve-pin run mserve.plan -- mserve-broker -p 5000 4 ./my-servant\n"
    "  mserve-pin run mserve.plan --role servant:3 -- ./my-servant      one that you start "
    "yourself";

constexpr const char* kFooter =
    "Exit status: 0 done (audit: examined, whatever was found), 1 failed, 2 wrong usage, 3 "
    "something costs (audit --strict).";

constexpr const char* kAuditAbout =
    "For each thing that was looked at: ok, costs or unknown (it cannot be seen from here), what "
    "was\nseen, [where], what it costs, how to mend it; in a file or a pipe in one line. Then what "
    "a\nspinning thread saw on each core: gaps between two looks at the clock. It changes nothing "
    "but\nwhere it runs itself. Costs are orders of magnitude; the jitter is measured.";

void describe_audit(CLI::App& app, AuditOptions& o) {
  CLI::App* const audit = app.add_subcommand("audit", kAuditAbout);
  audit->add_option("--cores", o.cores, "Cores to look at, as the kernel counts them")
      ->option_text("LIST [all of its cpuset, isolated ones too]");
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

constexpr const char* kPlanAbout =
    "Proposes cores, as a TOML file with a word on each choice:\n"
    "  - broker, gateway and servants on one NUMA node and under one last cache, if they fit\n"
    "  - isolated cores first; not the first core, which the system keeps, and not where devices\n"
    "    interrupt\n"
    "  - data thread and gateway alone on their physical cores, SMT siblings left idle\n"
    "  - a physical core for each servant; q and its shim on SMT siblings, or on a core each\n"
    "Where cores are too few it says so and proposes what works then.";

void describe_plan(CLI::App& app, PlanOptions& o) {
  CLI::App* const plan = app.add_subcommand("plan", kPlanAbout);
  plan->add_option("--servants", o.wishes.servants, "How many servants there will be")
      ->required()
      ->check(CLI::Range(1U, mserve::pin::kServantsMax))
      ->option_text("N");
  plan->add_flag("--q", o.wishes.q, "Each is a q process with a shim");
  plan->add_option("--gateway", o.wishes.gateway,
                   "kdb+ clients (-p) are served by a thread with a core of its own, by the data "
                   "thread, or there are none")
      ->transform(CLI::CheckedTransformer(std::map<std::string, GatewayPlace>{
          {"own", GatewayPlace::own}, {"data", GatewayPlace::data}, {"none", GatewayPlace::none}}))
      ->option_text("own|data|none [own]");
  plan->add_option("--topology", o.topology,
                   "Plan for the machine that this hwloc XML describes (lstopo --of xml)")
      ->option_text("FILE [this machine]");
  plan->add_option("--isolated", o.isolated, "Cores that are or will be isolated")
      ->option_text("LIST [what the kernel says; with --topology none]");
  plan->add_option("--avoid", o.avoid, "Cores to take last, because devices interrupt them")
      ->option_text("LIST [those with ten interrupts a second and more; with --topology none]");
  plan->add_option("-o,--output", o.output, "Where to write the plan")
      ->option_text("FILE [stdout]");
  plan->add_option("--systemd", o.units,
                   "Write drop-ins (UNIT.d/10-cores.conf) for mserve's units below this directory "
                   "as well")
      ->option_text("DIR");
}

constexpr const char* kRunAbout =
    "Becomes COMMAND on the cores of a plan. For the broker, behind COMMAND's first word stand "
    "then\n"
    "--core, --idle, --control-cores, --gateway-thread, --gateway-core and --servant-cores, so "
    "that "
    "each\n"
    "thread, and each servant that it launches, gets its own. A plan that does not fit this "
    "machine "
    "is\n"
    "refused, with the core and whose it is.";

void describe_run(CLI::App& app, RunOptions& o) {
  CLI::App* const run = app.add_subcommand("run", kRunAbout);
  run->add_option("PLAN", o.plan, "File that mserve-pin plan wrote")->required();
  run->add_option("--role", o.role, "Who COMMAND is: q:N and servant:N are the same cores")
      ->option_text("broker|servant:N|q:N|shim:N [broker]");
  run->add_option("COMMAND", o.command, "Program with its arguments, behind --")->required();
}

}  // namespace

int main(int argc, char** argv) try {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  AuditOptions audit;
  PlanOptions plan;
  RunOptions run;
  CLI::App app(kAbout, "mserve-pin");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-pin ") + mserve::kVersion);
  app.require_subcommand(1);
  describe_audit(app, audit);
  describe_plan(app, plan);
  describe_run(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return mserve::program::end_parsing(app, e, argc, argv);
  }
  if (app.got_subcommand("run")) {
    return static_cast<int>(run_run(run));
  }
  return static_cast<int>(app.got_subcommand("plan") ? run_plan(plan) : run_audit(audit));
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-pin: %s\n", e.what());
  return 1;
}
