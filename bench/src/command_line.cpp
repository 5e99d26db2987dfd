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
    "  mserve-bench affinity --svg routes.svg   what a routing string gains with each policy\n"
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

constexpr const char* kAffinityAbout =
    "What routing gains: servants that keep the data of a few routes at hand and need longer for\n"
    "any other one. Each policy of the broker gets the same requests, at the same times, whether "
    "or\n"
    "not earlier ones were answered; latencies count from when a request was to be sent. Servants\n"
    "sleep while they serve, as a process that waits for its disk does, so few cores are enough.";

struct Texts {
  std::string mode = "pair";
  std::string idle;
  std::string cores;
  std::vector<std::string> routes = {"4/1", "64/16"};  // affinity, and the three below
  double zipf = 1.1;
  double warm_us = 50;
  double cold_us = 1000;
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

void add_affinity_routes(CLI::App& app, CommandLine& line, Texts& texts) {
  app.add_option("--routes", texts.routes,
                 "Cases: how many routes there are, and how many a servant keeps warm")
      ->delimiter(',')
      ->option_text("R/WARM,... [4/1,64/16]");
  app.add_option("--zipf", texts.zipf,
                 "Each case once uniformly and once with route k in proportion to 1 / k^EXPONENT")
      ->check(CLI::Range(0.01, 10.0))
      ->option_text("EXPONENT [1.1]");
  app.add_option("--load", line.affinity.loads,
                 "In percent of what the servants do when every request is cold")
      ->delimiter(',')
      ->check(CLI::Range(1.0, 100.0))
      ->option_text("PERCENT,... [30,60,85]");
  app.add_option("--warm", texts.warm_us, "What a request of a warm route takes")
      ->check(CLI::Range(0.0, 1e6))
      ->option_text("MICROSECONDS [50]");
  app.add_option("--cold", texts.cold_us, "What any other request takes")
      ->check(CLI::Range(100.0, 1e6))
      ->option_text("MICROSECONDS [1000]");
}

void add_affinity(CLI::App& app, CommandLine& line, Texts& texts) {
  AffinitySettings& s = line.affinity;
  app.add_option("--servants", s.stage.servants, "Servants")
      ->check(CLI::Range(1, 64))
      ->option_text("N [4]");
  app.add_option("--clients", s.stage.clients, "Clients that share the arrivals")
      ->check(CLI::Range(1, 64))
      ->option_text("N [4]");
  add_affinity_routes(app, line, texts);
  app.add_option("--seconds", s.seconds, "Time for everything together")
      ->check(CLI::Range(0.1, 86400.0))
      ->option_text("SECONDS [75]");
  app.add_option("--repeat", s.repetitions, "Repetitions, each with other arrivals")
      ->check(CLI::Range(1, 1000))
      ->option_text("N [3]");
  app.add_option("--seed", s.seed, "What the arrivals are made from")->option_text("N [1]");
  app.add_option("--json", line.json_file, "Also write everything to this file; - is stdout")
      ->option_text("FILE");
  app.add_option("--svg", line.svg_file, "Also write a picture of the first four tables")
      ->option_text("FILE");
  app.add_option("--broker-path", s.stage.broker_path,
                 "The mserve-broker to start [beside this program]")
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

std::optional<int> complete_affinity(AffinitySettings& s, const Texts& texts) {
  for (const std::string& text : texts.routes) {
    std::optional<AffinityCase> at = parse_affinity_case(text);
    if (!at) {
      return mistake("--routes wants two numbers of 1 to 65536, such as 64/16; not '" + text + "'");
    }
    for (const double exponent : {0.0, texts.zipf}) {
      at->exponent = exponent;
      s.cases.push_back(*at);
    }
  }
  s.stage.warm_ns = static_cast<std::uint64_t>(texts.warm_us * 1000);
  s.stage.cold_ns = static_cast<std::uint64_t>(texts.cold_us * 1000);
  if (s.stage.broker_path.empty()) {
    s.stage.broker_path = find_tool("mserve-broker");
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
  if (line.command == Command::affinity) {
    return complete_affinity(line.affinity, texts);
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
  CLI::App* const affinity = app.add_subcommand("affinity", kAffinityAbout);
  CLI::App* const echo = app.add_subcommand("echo-servant");
  add_common(*floor, line, texts);
  add_common(*rtt, line, texts);
  add_rtt(*rtt, line, texts);
  add_kdb(*kdb, line);
  add_affinity(*affinity, line, texts);
  add_echo_servant(*echo, line, texts);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  line.command = *floor      ? Command::floor
                 : *rtt      ? Command::rtt
                 : *kdb      ? Command::kdb
                 : *affinity ? Command::affinity
                             : Command::echo_servant;
  return complete(line, texts);
}

}  // namespace mserve::bench
