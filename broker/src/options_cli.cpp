// SPDX-License-Identifier: Apache-2.0
#include "options_cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <map>

#include "control/log.hpp"
#include "version.hpp"

namespace mserve::broker {

namespace {

constexpr char kDescription[] =
    "Sends each request to the servant whose data is warm for it, through shared memory.\n\n"
    "  mserve-broker 2 mserve-servant                      two demo servants\n"
    "  mserve-broker --core 3 --idle spin 8 ./my-servant   lowest latency: core 3 is its own\n"
    "  mserve-broker 2 mserve-servant -p 5000              and kdb+ clients on port 5000\n"
    "  mserve-broker 2 servant.q -p 5000                   two q processes, on 5001 and 5002\n"
    "  mserve-broker 4 servant.q localhost hostA -p 5000   two here, two more for spikes\n\n"
    "Clients and servants find it by --name in the rendezvous directory.";

constexpr char kFooter[] =
    "Times take a unit (500us, 20ms, 12s, 1m) or are 0 or inf; sizes take one too (64k, 1m, 2g).\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --name and --dir, MSERVE_ALGO of "
    "--policy.\n"
    "QBIN: the q to start [q on PATH]; Q_PLUGINS is handed to it.\n"
    "QUDSPATH: where the Unix sockets of -p lie instead of /tmp; set but empty: none.\n"
    "Signals: TERM and INT drain and stop (a second one waits for no running request).\n"
    "Exit status: 0 stopped by a signal, 1 could not start, 2 wrong usage.";

struct Unit {
  std::string_view name;
  double ns;
};
constexpr std::array<Unit, 5> kUnits{
    {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}}};

bool parse_duration(std::string_view text, Nanos& out) {
  if (text == "inf") {
    out = kForever;
    return true;
  }
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (error != std::errc{} || number < 0 || number > 1e9) {
    return false;
  }
  if (unit.empty() && number == 0) {
    out = 0;
    return true;
  }
  constexpr double kLongest = 9e18;  // what fits, some 285 years
  for (const Unit& u : kUnits) {
    if (u.name == unit && number * u.ns <= kLongest) {
      out = static_cast<Nanos>(number * u.ns);
      return true;
    }
  }
  return false;
}

void add_duration(CLI::App& app, const char* flag, Nanos& value, const char* text,
                  const std::string& shown) {
  app.add_option_function<std::string>(
         flag,
         [&value, flag](const std::string& given) {
           if (!parse_duration(given, value)) {
             throw CLI::ValidationError(
                 flag, "'" + given + "' is not a time such as 500us, 20ms, 12s, 0 or inf");
           }
         },
         text)
      ->option_text("TIME [" + shown + "]");
}

/// A size as --help shows defaults: 64k, 1m, 2g where it comes out even.
std::string shown_size(std::uint64_t bytes) {
  constexpr std::array<char, 4> kSuffixes{'\0', 'k', 'm', 'g'};
  std::size_t suffix = 0;
  while (suffix + 1 < kSuffixes.size() && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++suffix;
  }
  return std::to_string(bytes) + (suffix == 0 ? std::string() : std::string(1, kSuffixes[suffix]));
}

template <class T>
void add_size(CLI::App& app, const char* flag, T& value, const char* text) {
  app.add_option(flag, value, text)
      ->transform(CLI::AsSizeValue(false))
      ->option_text("SIZE [" + shown_size(value) + "]");
}

void add_dispatch(CLI::App& app, BrokerOptions& o) {
  const std::map<std::string, Policy> policies{
      {"orig", Policy::orig}, {"even", Policy::even}, {"match", Policy::match}};
  app.add_option("--policy", o.policy,
                 "What chooses the servant: first free (orig), next free (even), the one that "
                 "holds the route (match)")
      ->transform(CLI::CheckedTransformer(policies))
      ->envname("MSERVE_ALGO")
      ->option_text("orig|even|match [match]");
  add_duration(app, "--match-wait", o.match_wait,
               "How long a request waits for the busy servant that holds its route", "0");
  add_duration(app, "--route-expire", o.route_expire, "An unused route is given up after this long",
               "12s");
  add_duration(app, "--spill-after", o.spill_after,
               "A request that waited for this long may go to a servant on another host; inf: only "
               "while none is here",
               "1s");
  app.add_option("--retries", o.retries,
                 "How often a repeatable request is sent again when its servant dies")
      ->capture_default_str();
}

void add_limits(CLI::App& app, BrokerOptions& o) {
  app.add_option("--max-sessions", o.max_sessions, "Clients and servants attached at once")
      ->capture_default_str();
  app.add_option("--max-queue", o.max_queue, "Requests queued or running; beyond: error busy")
      ->capture_default_str();
  add_size(app, "--max-queue-bytes", o.max_queue_bytes,
           "Payloads that wait in the broker; beyond: error busy");
  add_size(app, "--max-pending-bytes", o.max_pending_bytes,
           "Unread answers kept for one client; beyond: it is closed");
  add_size(app, "--max-message", o.max_message, "Largest request or answer");
  add_size(app, "--max-shared-bytes", o.max_shared_bytes, "All segments together");
  add_size(app, "--client-ring", o.client_ring,
           "Ring of a client, each way, unless it asks for another");
  add_size(app, "--servant-ring", o.servant_ring, "Ring of a servant, each way");
  add_size(app, "--gather-max", o.gather_max,
           "Larger requests stream through instead of being gathered");
  add_size(app, "--retain-max", o.retain_max,
           "Larger requests are not sent again when their servant dies");
  add_duration(app, "--stall-timeout", o.stall_timeout,
               "A large message without progress is cut after this long", "1s");
  add_duration(app, "--drain-timeout", o.drain_timeout,
               "After TERM, how long to wait for running requests", "10s");
  add_duration(app, "--cool", o.cool, "A session silent for this long is looked at less often",
               "100ms");
}

bool parse_port(const std::string& text, GatewayOptions& o) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), o.port);
  const bool number = error == std::errc{} && rest == text.data() + text.size() && o.port != 0;
  if (text == "0W") {
    o.port = 0;
  }
  o.enabled = number || text == "0W";
  return o.enabled;
}

void add_gateway_conventions(CLI::App& app, GatewayOptions& o) {
  const std::map<std::string, Protocol> protocols{{"auto", Protocol::automatic},
                                                  {"lbt", Protocol::lbt},
                                                  {"np", Protocol::np},
                                                  {"aw", Protocol::aw}};
  app.add_option("--protocol", o.protocol,
                 "How async messages are read: (id; query) (lbt), (query; callback) (np), a bare "
                 "query (aw), or by their form")
      ->transform(CLI::CheckedTransformer(protocols))
      ->option_text("auto|lbt|np|aw [auto]");
  const std::map<std::string, Convention> defaults{{"np", Convention::np}, {"aw", Convention::aw}};
  app.add_option("--protocol-default", o.protocol_default,
                 "What (string; symbol) is, until its connection showed np or aw")
      ->transform(CLI::CheckedTransformer(defaults))
      ->option_text("np|aw [np]");
  const std::map<std::string, bool> replies{{"bare", true}, {"none", false}};
  app.add_option("--async-reply", o.async_reply,
                 "What answers an aw message: the bare result, or nothing")
      ->transform(CLI::CheckedTransformer(replies))
      ->option_text("bare|none [bare]");
  app.add_option("--sync-window", o.sync_window,
                 "Sync queries of one connection that may run at once; their answers keep their "
                 "order")
      ->capture_default_str();
}

void add_gateway(CLI::App& app, BrokerOptions& all) {
  GatewayOptions& o = all.gateway;
  app.add_option_function<std::string>(
         "-p,--port",
         [&o](const std::string& text) {
           if (!parse_port(text, o)) {
             throw CLI::ValidationError("-p", "'" + text + "' is not a port (1 to 65535, or 0W)");
           }
         },
         "Port for kdb+ clients, with Unix sockets of the same number; 0W: any free one")
      ->option_text("PORT [none]");
  app.add_option("--bind", o.bind, "Addresses that -p listens at")
      ->delimiter(',')
      ->option_text("ADDR,... [127.0.0.1]");
  add_gateway_conventions(app, o);
  app.add_option("--max-connections", all.max_connections, "kdb+ connections at once")
      ->capture_default_str();
  add_duration(app, "--handshake-timeout", o.handshake_timeout,
               "A connection that says nothing is closed after this long", "5s");
  add_duration(app, "--idle-timeout", o.idle_timeout,
               "A connection without a request or an answer is closed after this long", "inf");
  add_duration(app, "--tcp-user-timeout", o.tcp_user_timeout,
               "A connection whose peer acknowledges nothing, or has had no room for answers, for "
               "this long is closed; 0: the system's rule",
               "10s");
  const std::map<std::string, GatewayThread> threads{{"auto", GatewayThread::automatic},
                                                     {"own", GatewayThread::own},
                                                     {"data", GatewayThread::data}};
  app.add_option("--gateway-thread", o.thread,
                 "Serves kdb+ connections: a thread of its own, or the data thread, which takes "
                 "fewer switches where cores are few (auto: with fewer than 3)")
      ->transform(CLI::CheckedTransformer(threads))
      ->option_text("auto|own|data [auto]");
  add_size(app, "--gateway-ring", all.gateway_ring,
           "Ring between gateway and data thread, each way");
  add_size(app, "--max-gathered", o.max_gathered,
           "Largest message that is held in memory because it must be: compressed, big endian, or "
           "an answer with a servant's own info");
  app.add_option("--admin-users", o.admin_users,
                 "Who may call .mserve.servants, clients, queries and stats, over the Unix socket")
      ->delimiter(',')
      ->option_text("USER,... [the broker's own user]");
}

/// Puts the options that `add` adds under a heading of their own.
template <class Add>
void add_group(CLI::App& app, const char* heading, Add add) {
  const std::vector<CLI::Option*> before = app.get_options();
  add();
  for (CLI::Option* option : app.get_options()) {
    if (std::find(before.begin(), before.end(), option) == before.end()) {
      option->group(heading);
    }
  }
}

void add_process(CLI::App& app, BrokerOptions& o, std::string& idle, std::string& servant_args,
                 std::string& q_args) {
  app.add_option("--name", o.name, "Name that clients and servants use")
      ->envname("MSERVE_NAME")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", o.directory, "Rendezvous directory")
      ->option_text("DIR [$MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for root]");
  app.add_option("--core", o.core, "Pin the data thread to this core");
  app.add_option("--idle", idle,
                 "What the data thread does without work: spin needs a core of its own; auto looks "
                 "at the cores")
      ->check(CLI::IsMember({"spin", "yield", "park", "auto"}))
      ->option_text("spin|yield|park|auto [auto]");
  app.add_flag("--lock-memory", o.lock_memory, "mlock all segments");
  app.add_option(
         "--allow-user", o.allow_users,
         "uid that may attach beside root and the broker's own user (repeat it for more); needs "
         "--socket-group")
      ->allow_extra_args(false);
  app.add_option("--socket-group", o.socket_group,
                 "Group whose members can reach the socket (0660) and read the counters")
      ->option_text("GROUP [nobody but the user]");
  app.add_option("--servant-args", servant_args,
                 "Arguments of the launched servants, separated by spaces");
  app.add_option("--q-args", q_args, "Arguments of launched q processes, separated by spaces");
  app.add_option("--launch", o.launch,
                 "Command that starts q on another HOST; {host}, {port}, {script} and {command} "
                 "(all of q's command line) are filled in")
      ->capture_default_str();
  app.add_option("--ready-fd", o.ready_fd,
                 "Descriptor that gets the line \"ready\" once the launched servants are attached");
  app.add_option("--log-level", o.log_level, "What is written to stderr")
      ->check(CLI::IsMember({"info", "warning", "error"}))
      ->option_text("info|warning|error [info]");
  app.add_option("N", o.servant_count, "Servants to launch");
  app.add_option("COMMAND", o.servant_command,
                 "Program that each of them runs, or a q script (NAME.q)");
  app.add_option("HOST", o.hosts,
                 "Where the q processes run, a share of them each [this host]; those elsewhere "
                 "serve when those here cannot, see --spill-after");
}

}  // namespace

std::optional<int> read_command_line(int argc, char** argv, BrokerOptions& options) {
  CLI::App app(kDescription, "mserve-broker");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-broker ") + kVersion);
  std::string idle = "auto";
  std::string servant_args;
  std::string q_args;
  add_process(app, options, idle, servant_args, q_args);
  add_group(app, "Dispatch", [&] { add_dispatch(app, options); });
  add_group(app, "Limits", [&] { add_limits(app, options); });
  add_group(app, "kdb+ clients", [&] { add_gateway(app, options); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  // Defaults that follow from a smaller ring; what was asked for is judged as it is.
  const auto follow = [&app](const char* flag, std::uint32_t& value, std::uint32_t most) {
    if (app.count(flag) == 0) {
      value = std::min(value, most);
    }
  };
  follow("--client-ring", options.client_ring, options.servant_ring);
  follow("--gather-max", options.gather_max, options.servant_ring / 4);
  follow("--retain-max", options.retain_max, options.servant_ring / 4);
  options.idle = shm::parse_idle_strategy(idle).value_or(shm::IdleStrategy::automatic);
  for (std::string& arg : CLI::detail::split_up(servant_args)) {
    options.servant_args.push_back(std::move(arg));
  }
  for (std::string& arg : CLI::detail::split_up(q_args)) {
    options.q_args.push_back(std::move(arg));
  }
  (void)set_log_level(options.log_level);
  const std::vector<std::string> faults = options.validate();
  for (const std::string& fault : faults) {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", fault.c_str());
  }
  return faults.empty() ? std::nullopt : std::optional<int>(2);
}

}  // namespace mserve::broker
