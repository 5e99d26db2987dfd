// SPDX-License-Identifier: Apache-2.0
// mserve-qshim: one q process, served through a broker.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <string>

#include "mserve/servant/options.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "servant_log.hpp"
#include "servant_tags.hpp"
#include "shim/shim.hpp"
#include "stops_on_signal.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace {

using mserve::servant_tags;
using mserve::shim::ServantProtocol;
using mserve::shim::Shim;
using mserve::shim::ShimOptions;

constexpr const char* kAbout =
    "Serves one q process: attaches to a broker as a servant, and hands its requests to q over\n"
    "kdb+ IPC. The q process needs no change; with --credit 1 it runs one request at a time.\n"
    "\n"
    "  mserve-qshim --q :5001                 q on this host, port 5001\n"
    "  mserve-qshim --q dbhost:5001 --user trader:secret\n"
    "  mserve-qshim --q-socket 5001           the same q by its Unix socket, /tmp/kx.5001\n"
    "  mserve-qshim --peer --q hostb:5000 --tags peer=B --tier 1\n"
    "                                         another broker, for what nobody here can run";

constexpr const char* kExample =
    "Servant protocols:\n"
    "  plain  each request is a sync message, q's response the answer; an error stays an error.\n"
    "         A client's options are dropped, q has no place for them. Works with any q\n"
    "  lbt    async (qid; query; options) there, async (qid; result) or (qid; result; info) back\n"
    "  auto   asks both ways once, after the handshake: what answers asynchronously is lbt\n"
    "\n"
    "--peer: requests go to that broker's servants and never further (hop 1), with what is left "
    "of\n"
    "their time, their priority, and, where this broker has --users, with user and role, which "
    "the\n"
    "peer believes of the user that its --peer-user names. It is left as soon as it falls silent.\n"
    "\n"
    "It is attached while q is connected, and only then: when q goes, the broker sends requests\n"
    "elsewhere; q and the broker are waited for as long as it takes. SIGTERM and SIGINT: finishes\n"
    "what runs, detaches, exits with 0. An operator who retires it (mserve-stat ctl retire) ends "
    "it\n"
    "with 0, too.\n"
    "\n"
    "Times are seconds, fractions allowed; sizes take a unit (64k, 1m). A password given with\n"
    "--user can be seen by other users of this host; one in the environment cannot.\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --broker and --dir, "
    "MSERVE_Q_USER\n"
    "of --user, MSERVE_LOG_FORMAT of --log-format; MSERVE_SERVANT=N, set by a broker for what it "
    "starts, makes the name\n"
    "mserve-qshim-N; QUDSPATH is where --q-socket PORT looks, instead of /tmp.\n"
    "Exit status: 0 stopped by a signal or retired, 1 refused by the broker or out of memory, 2 "
    "wrong usage.";

/// As given; options are made of it after parsing.
struct Given {
  std::string q;
  std::string q_socket;
  std::string user;
  std::string name;
  std::string idle = "auto";
  std::string tier = "auto";
  std::string group;
  std::string log_format = "text";
  bool credit = false;    ///< It was given.
  bool protocol = false;  ///< Likewise.
};

/// An option in seconds for a value in nanoseconds.
CLI::Option* add_seconds(CLI::App& app, const char* flag, std::uint64_t& ns, const char* text) {
  constexpr double kNsPerSecond = 1e9;
  constexpr double kSecondsMax = 1e6;
  char shown[32];
  (void)std::snprintf(shown, sizeof(shown), "SECONDS [%g]", static_cast<double>(ns) / kNsPerSecond);
  return app
      .add_option_function<double>(
          flag,
          [&ns](const double& seconds) { ns = static_cast<std::uint64_t>(seconds * kNsPerSecond); },
          text)
      ->check(CLI::Range(0.0, kSecondsMax))
      ->option_text(shown);
}

void describe_q(CLI::App& app, ShimOptions& o, Given& given) {
  const std::map<std::string, ServantProtocol> protocols{{"auto", ServantProtocol::automatic},
                                                         {"plain", ServantProtocol::plain},
                                                         {"lbt", ServantProtocol::lbt}};
  auto* const tcp =
      app.add_option("--q", given.q, "Where q listens")->option_text("HOST:PORT | :PORT");
  app.add_option("--q-socket", given.q_socket, "q's Unix socket, by path or by q's port")
      ->option_text("PATH|PORT")
      ->excludes(tcp);
  app.add_option("--servant-protocol", o.protocol, "What this q speaks; see below")
      ->transform(CLI::CheckedTransformer(protocols))
      ->each([&given](const std::string&) { given.protocol = true; })
      ->option_text("auto|plain|lbt [auto; with --peer lbt]");
  auto* const peer = app.add_flag(
      "--peer", o.peer, "This q is another mserve broker's gateway; needs the tag peer=ID");
  add_seconds(app, "--heartbeat", o.heartbeat_ns,
              "How often a peer says that it lives; missing three times it is given up, in the "
              "middle of an answer 25 times")
      ->needs(peer);
  app.add_option("--user", given.user, "What to say to q")
      ->envname("MSERVE_Q_USER")
      ->option_text("USER[:PASSWORD] [$MSERVE_Q_USER, else the login name]");
  add_seconds(app, "--probe", o.probe_ns, "Idle for so long, q is asked whether it lives; 0: never")
      ->excludes(peer);
  add_seconds(
      app, "--probe-timeout", o.probe_timeout_ns,
      "A q that is silent for so long after that, or in the middle of an answer, is given up")
      ->excludes(peer);
  add_seconds(app, "--tcp-user-timeout", o.user_timeout_ns,
              "A q on another host whose kernel is silent for so long is given up; 0: minutes");
}

void describe_broker(CLI::App& app, ShimOptions& o, Given& given) {
  o.broker = mserve::servant::default_broker();
  app.add_option("--broker", o.broker, "The broker's --name")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", o.directory, "Rendezvous directory of the broker")
      ->transform([](const std::string& dir) { return std::filesystem::absolute(dir).string(); })
      ->option_text("DIR [$MSERVE_DIR, else as mserve-broker]");
  app.add_option("--name", given.name,
                 "Its own name, in logs and info dictionaries, at most 31 characters; for the "
                 "broker's see --broker")
      ->option_text("NAME [where q listens, as 127.0.0.1-5001]");
  app.add_option("--tags", o.tags,
                 "What the broker's rules choose by, parted by blanks or commas: gpu,zone=a; and "
                 "weight=N");
  app.add_option("--group", given.group, "The same as the tag group=GROUP")->option_text("GROUP");
  app.add_option("--tier", given.tier,
                 "0: serves like any servant; 1 (same zone), 2 (same region) and 3 (elsewhere): "
                 "only when no nearer one can; auto: 1 where q is on another host, else 0")
      ->check(CLI::IsMember({"auto", "0", "1", "2", "3"}))
      ->option_text("auto|0|1|2|3 [auto]");
  app.add_option("--credit", o.credit,
                 "Requests that may be at q at once, of which a broker grants 64 at most; q runs "
                 "them one by one")
      ->each([&given](const std::string&) { given.credit = true; })
      ->option_text("N [1; with --peer 64]");
  app.add_option("--idle", given.idle, "Without work: spin, yield, park, or auto (by the cores)")
      ->check(CLI::IsMember({"spin", "yield", "park", "auto"}))
      ->option_text("spin|yield|park|auto [auto]");
  app.add_option("--log-format", given.log_format,
                 "What stderr gets: text, or one JSON object a line")
      ->envname("MSERVE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->option_text("text|json [$MSERVE_LOG_FORMAT, else text]");
}

void describe_limits(CLI::App& app, ShimOptions& o) {
  add_seconds(app, "--retry-min", o.retry_ns_min,
              "First pause between attempts to reach q or the broker; each doubles");
  add_seconds(app, "--retry-max", o.retry_ns_max, "Longest of these pauses");
  add_seconds(app, "--stop-timeout", o.stop_ns_max,
              "After SIGTERM, how long to wait for what runs");
  app.add_option("--max-gathered", o.max_gathered,
                 "Largest message that must be held whole: compressed, big-endian, an lbt reply "
                 "with info, a request that has to wait for a larger one; above: error limit")
      ->transform(CLI::Validator(mserve::program::to_bytes, "SIZE"))
      ->option_text("SIZE [64m]");
}

/// What was given becomes options. @return every fault, one per line.
std::string complete(ShimOptions& o, const Given& given) {
  std::string faults;
  if (!given.q.empty()) {
    if (auto endpoint = mserve::shim::parse_endpoint(given.q)) {
      o.q = *endpoint;
    } else {
      faults += "--q: '" + given.q + "' is not HOST:PORT.\n";
    }
  }
  if (!given.q_socket.empty()) {
    if (auto endpoint =
            mserve::shim::parse_local_endpoint(given.q_socket, std::getenv("QUDSPATH"))) {
      o.q = *endpoint;
    } else {
      faults += "--q-socket: '" + given.q_socket + "' is longer than a socket's name can be.\n";
    }
  }
  if (!faults.empty()) {
    return faults;
  }
  o.credentials = given.user.empty() ? mserve::shim::default_credentials() : given.user;
  o.name = given.name.empty() ? mserve::shim::default_name(o.q, std::getenv("MSERVE_SERVANT"))
                              : given.name;
  o.tags = servant_tags(std::move(o.tags), given.group);
  if (given.tier != "auto") {
    o.tier = static_cast<std::uint32_t>(given.tier[0] - '0');  // checked to be a digit
  }
  if (o.peer) {
    constexpr std::uint32_t kPeerCredit = 64;  // the most that a broker grants
    o.credit = given.credit ? o.credit : kPeerCredit;
    o.protocol = given.protocol ? o.protocol : ServantProtocol::lbt;
  }
  o.idle = mserve::shm::parse_idle_strategy(given.idle).value_or(o.idle);
  return o.validate();
}

int serve(const ShimOptions& options, bool json) {
  const mserve::ServantLog log(options.name, json);
  Shim shim(options, [&log](const mserve::ServantLogLine& line) { log.write(line); });
  const mserve::StopsOnSignal stops(shim);
  return shim.run().code == mserve::Errc::ok ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  ShimOptions options;
  Given given;
  CLI::App app(kAbout, "mserve-qshim");
  app.footer(kExample);
  app.set_version_flag("--version", std::string("mserve-qshim ") + mserve::kVersion);
  describe_q(app, options, given);
  describe_broker(app, options, given);
  describe_limits(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return mserve::program::end_parsing(app, e, argc, argv);
  }
  if (const std::string faults = complete(options, given); !faults.empty()) {
    mserve::program::tell_faults("mserve-qshim", faults);
    return 2;
  }
  return serve(options, given.log_format == "json");
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-qshim: %s\n", e.what());
  return 1;
}
