// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "build_info.hpp"
#include "child.hpp"
#include "cores.hpp"

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
    "  mserve-bench rtt --payload 4096 --json rtt.json\n"
    "  mserve-bench kdb                         a q process directly, through us, through HAProxy\n"
    "\n"
    "Exit codes: 0 measured, 1 something failed, 2 wrong options, 3 fewer than two usable cores,\n"
    "130 interrupted (nothing stays behind). bench/README.md tells how to read the figures.";

constexpr const char* kFloorAbout =
    "The floor: round trips through the smallest relay there can be. One thread plays client and\n"
    "servant, one relays; a message is a cache line that carries its own commit word. The line\n"
    "probe before and after (a cache line bounced between the cores) tells whether the host moved\n"
    "the cores meanwhile; such repetitions are marked and left out of the medians.";

constexpr const char* kRttAbout =
    "Round trips of a small request through the real broker, one at a time, beside the floor.\n"
    "\n"
    "  --mode pair       one thread on core A is client and servant, a broker started for the\n"
    "                    purpose spins on core B: what the broker itself costs (the default)\n"
    "  --mode processes  client, broker and servant are three processes on all usable cores\n"
    "  --name NAME       client of a broker that runs already; calls echo of its own servants\n"
    "\n"
    "A broker of ours has a private directory, is started for each repetition and stopped after\n"
    "it; the floor is measured before and after each repetition while it is gone.";

constexpr const char* kKdbAbout =
    "Sync queries over kdb+ IPC on loopback: to a stand-in for q directly, through gateway, rings\n"
    "and shim, and through HAProxy in TCP mode if it is installed, in turn; directly also with\n"
    "idle threads that keep the cores awake, since wake-ups decide everything here.";

struct Texts {
  std::string mode = "pair";
  std::string idle;
  std::string cores;
};

void add_common(CLI::App& app, CommandLine& line, Texts& texts) {
  Settings& s = line.settings;
  app.add_option("--payload", s.payload_bytes, "Bytes of payload each way")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 20))
      ->option_text("BYTES [40]");
  app.add_option("--seconds", s.seconds,
                 "Time for all repetitions together, floor and probes included")
      ->check(CLI::Range(0.1, 86400.0))
      ->option_text("SECONDS [5]");
  app.add_option("--repeat", s.repetitions, "Repetitions")
      ->check(CLI::Range(1, 1000))
      ->option_text("N [5]");
  app.add_option("--cores", texts.cores, "A measures, B relays [two usable ones]")
      ->option_text("A,B");
  app.add_option("--json", line.json_file,
                 "Also write everything to this file; - is stdout, behind the tables")
      ->option_text("FILE");
}

void add_rtt(CLI::App& app, CommandLine& line, Texts& texts) {
  Settings& s = line.settings;
  CLI::Option* const name =
      app.add_option("--name", s.broker_name, "Measure this running broker with its own servants")
          ->option_text("NAME");
  app.add_option("--dir", s.directory, "Rendezvous directory of that broker [env MSERVE_DIR]")
      ->needs(name)
      ->option_text("DIRECTORY");
  app.add_option("--mode", texts.mode, "Who plays client and servant")
      ->check(CLI::IsMember({"pair", "processes"}))
      ->excludes(name)
      ->option_text("pair|processes [pair]");
  app.add_flag("--pin", s.pin,
               "Processes mode: client and servant on core A, the broker on B, not where the "
               "kernel likes")
      ->excludes(name);
  app.add_option(
         "--idle", texts.idle,
         "Without work: in pair mode the broker, else whatever we start [pair: spin, else auto]")
      ->check(CLI::IsMember({"spin", "yield", "park", "auto"}))
      ->option_text("spin|yield|park|auto");
  app.add_option("--broker-path", s.broker_path, "The mserve-broker to start [beside this program]")
      ->excludes(name)
      ->option_text("FILE");
}

void add_kdb(CLI::App& app, CommandLine& line) {
  KdbSettings& s = line.kdb;
  app.add_option("--payload", s.payload_bytes, "Characters that echo is given")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 20))
      ->option_text("BYTES [40]");
  app.add_option("--seconds", s.seconds, "Time for all repetitions together")
      ->check(CLI::Range(0.1, 86400.0))
      ->option_text("SECONDS [10]");
  app.add_option("--repeat", s.repetitions, "Repetitions")
      ->check(CLI::Range(1, 1000))
      ->option_text("N [5]");
  app.add_option("--json", line.json_file, "Also write everything to this file; - is stdout")
      ->option_text("FILE");
  app.add_option("--standin-path", s.standin_path,
                 "What plays the q process; built with the tests [beside this program]")
      ->option_text("FILE");
}

void add_echo_servant(CLI::App& app, CommandLine& line, Texts& texts) {
  app.group("");  // started by `rtt --mode processes`, no use to anybody else
  app.add_option("--name", line.echo.broker)->required();
  app.add_option("--dir", line.echo.directory)->required();
  app.add_option("--idle", texts.idle)->required();
  app.add_option("--payload", line.echo.payload_bytes);
  app.add_option("--core", line.echo.core);
  app.add_option("--ready-fd", line.ready_fd);
}

std::optional<int> mistake(const std::string& text) {
  (void)std::fprintf(stderr, "mserve-bench: %s\n", text.c_str());
  return kExitUsage;
}

std::optional<int> complete_kdb(KdbSettings& s) {
  s.broker_path = find_tool("mserve-broker");
  s.shim_path = find_tool("mserve-qshim");
  if (s.standin_path.empty()) {
    s.standin_path = find_tool("mserve-standin");
  }
  for (const char* const path : {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"}) {
    s.haproxy_path = s.haproxy_path.empty() && access(path, X_OK) == 0 ? path : s.haproxy_path;
  }
  if (access(s.standin_path.c_str(), X_OK) != 0) {
    return mistake("there is no " + s.standin_path +
                   ": it is built with the tests; see --standin-path");
  }
  return std::nullopt;
}

std::optional<int> complete(CommandLine& line, const Texts& texts) {
  Settings& s = line.settings;
  s.idle = shm::parse_idle_strategy(texts.idle);
  line.echo.idle = s.idle.value_or(shm::IdleStrategy::automatic);
  if (line.command == Command::echo_servant) {
    return std::nullopt;
  }
  if (line.command == Command::kdb) {
    return complete_kdb(line.kdb);
  }
  s.mode = !s.broker_name.empty()      ? Mode::running
           : texts.mode == "processes" ? Mode::processes
                                       : Mode::pair;
  if (s.pin && s.mode != Mode::processes) {
    return mistake("--pin goes with --mode processes; pair mode is always pinned");
  }
  if (s.broker_path.empty()) {
    s.broker_path = find_tool("mserve-broker");
  }
  if (s.mode == Mode::running && s.payload_bytes < kEchoCallBytesMin) {
    return mistake("with --name the payload is a call of echo: --payload " +
                   std::to_string(kEchoCallBytesMin) + " at least");
  }
  const std::optional<CorePair> cores =
      texts.cores.empty() ? choose_cores() : parse_core_pair(texts.cores);
  if (cores) {
    s.cores = *cores;
    return std::nullopt;
  }
  if (!texts.cores.empty()) {
    return mistake("--cores wants two different cores, such as 0,1; not '" + texts.cores + "'");
  }
  (void)std::fprintf(stderr,
                     "mserve-bench: this process may use one core only; floor and round trips "
                     "need two. Look at taskset, cpusets and the container's limits.\n");
  return kExitCannotMeasure;
}

}  // namespace

std::optional<int> read_command_line(int argc, char** argv, CommandLine& line) {
  CLI::App app(kAbout, "mserve-bench");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-bench ") + kVersion);
  app.require_subcommand(1);
  Texts texts;
  CLI::App* const floor = app.add_subcommand("floor", kFloorAbout);
  CLI::App* const rtt = app.add_subcommand("rtt", kRttAbout);
  CLI::App* const kdb = app.add_subcommand("kdb", kKdbAbout);
  CLI::App* const echo = app.add_subcommand("echo-servant");
  add_common(*floor, line, texts);
  add_common(*rtt, line, texts);
  add_rtt(*rtt, line, texts);
  add_kdb(*kdb, line);
  add_echo_servant(*echo, line, texts);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  line.command = *floor ? Command::floor
                 : *rtt ? Command::rtt
                 : *kdb ? Command::kdb
                        : Command::echo_servant;
  return complete(line, texts);
}

}  // namespace mserve::bench
