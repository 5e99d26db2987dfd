// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>
#include <vector>

#include "build_info.hpp"
#include "usage.hpp"

namespace mserve::bench {
namespace {

constexpr const char* kAbout =
    "Measures mserve on this machine, beside the fastest that this machine could do at all.";

constexpr const char* kFooter =
    "Examples:\n"
    "  mserve-bench floor                       how fast two cores can pass a message four times\n"
    "  mserve-bench rtt                         one client, one servant, a broker on its own core\n"
    "  mserve-bench rtt --mode processes        the same as three processes on all cores\n"
    "  mserve-bench rtt --mode processes --pin  client and servant on one core, the broker on "
    "another\n"
    "  mserve-bench rtt --name prices           against the broker 'prices' and its servants\n"
    "  mserve-bench rtt --payload 4096 --json rtt.json --html rtt.html\n"
    "  mserve-bench failover                    how long requests wait when a host is lost\n"
    "  mserve-bench kdb                         a q process directly, through us, through HAProxy\n"
    "  mserve-bench affinity --svg routes.svg   what a routing string gains with each policy\n"
    "\n"
    "Exit codes: 0 measured, 1 something failed, 2 wrong options, 3 cannot be measured here,\n"
    "or there is no such broker,\n"
    "130 interrupted (nothing stays behind). bench/README.md tells how to read the figures.";

struct Parsed {
  const SubcommandEntry* entry;
  std::unique_ptr<Subcommand> subcommand;
  CLI::App* app;
};

/// Started by this program itself for its servants, no use to anybody else.
CLI::App* add_echo_servant(CLI::App& app, CommandLine& line, std::string& idle) {
  CLI::App* const echo = app.add_subcommand("echo-servant");
  echo->group("");
  echo->add_option("--name", line.echo.broker)->required();
  echo->add_option("--dir", line.echo.directory)->required();
  echo->add_option("--idle", idle)->required();
  echo->add_option("--payload", line.echo.payload_bytes);
  echo->add_option("--credit", line.echo.credit);
  echo->add_option("--core", line.echo.core);
  echo->add_option("--ready-fd", line.ready_fd);
  return echo;
}

std::string typed(int argc, char** argv) {
  std::string text = "mserve-bench";
  for (int i = 1; i < argc; ++i) {
    text += std::string(" ") + argv[i];
  }
  return text;
}

std::optional<int> complete(Subcommand& subcommand) {
  try {
    subcommand.complete();
    return std::nullopt;
  } catch (const UsageError& e) {
    (void)std::fprintf(stderr, "mserve-bench: %s\n", e.what());
    return kExitUsage;
  } catch (const CannotMeasure& e) {
    (void)std::fprintf(stderr, "mserve-bench: %s\n", e.what());
    return kExitCannotMeasure;
  }
}

}  // namespace

std::optional<int> read_command_line(int argc, char** argv, CommandLine& line) {
  CLI::App app(kAbout, "mserve-bench");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-bench ") + kVersion);
  app.require_subcommand(1);
  std::vector<Parsed> all;
  for (const SubcommandEntry& entry : subcommands()) {
    Parsed p{&entry, entry.make(), app.add_subcommand(entry.name, entry.about)};
    p.subcommand->add_options(*p.app);
    p.app->preparse_callback(
        [app_of = p.app, help = entry.help](std::size_t) { app_of->description(help); });
    all.push_back(std::move(p));
  }
  std::string idle;
  CLI::App* const echo = add_echo_servant(app, line, idle);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return program::end_parsing(app, e, argc, argv);
  }
  line.text = typed(argc, argv);
  if (*echo) {
    line.echo.idle = shm::parse_idle_strategy(idle).value_or(shm::IdleStrategy::automatic);
    return std::nullopt;
  }
  for (Parsed& p : all) {
    if (*p.app) {
      line.subcommand = std::move(p.subcommand);
    }
  }
  return complete(*line.subcommand);
}

}  // namespace mserve::bench
