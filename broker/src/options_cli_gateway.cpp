// SPDX-License-Identifier: Apache-2.0
#include "options_cli_gateway.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <string>

#include "option_values.hpp"

namespace mserve::broker {

namespace {

void add_purge(CLI::App& app, Nanos& value) {
  app.add_option_function<std::string>(
         "--purge",
         [&value](const std::string& given) {
           if (!parse_minutes(given, value)) {
             throw CLI::ValidationError("--purge", "'" + given +
                                                       "' is neither a number of minutes nor a "
                                                       "time such as 12s, 0 or inf");
           }
         },
         "An answered query is forgotten (.mserve.queries[], mserve-stat queries) after this long; "
         "a bare number is minutes")
      ->envname("MSERVE_PURGE")
      ->default_str(shown_time(value))
      ->option_text("TIME [$MSERVE_PURGE, else " + shown_time(value) + "]");
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
  add_choice<Protocol>(app, "--protocol", o.protocol,
                       "How async messages are read: (id; query) (lbt), (query; callback) (np), a "
                       "bare query (aw), or by their form",
                       {{"auto", Protocol::automatic},
                        {"lbt", Protocol::lbt},
                        {"np", Protocol::np},
                        {"aw", Protocol::aw}});
  add_choice<Convention>(app, "--protocol-default", o.protocol_default,
                         "What (string; symbol) is, until its connection showed np or aw",
                         {{"np", Convention::np}, {"aw", Convention::aw}});
  add_choice<bool>(app, "--async-reply", o.async_reply,
                   "What answers an aw message: the bare result, or nothing",
                   {{"bare", true}, {"none", false}});
  app.add_option("--sync-window", o.sync_window,
                 "Sync queries of one connection that may run at once; their answers keep their "
                 "order")
      ->capture_default_str();
}

}  // namespace

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
      ->default_str("127.0.0.1")
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
  add_duration(app, "--tcp-keepalive", o.tcp_keepalive,
               "A TCP peer that is silent for this long is asked whether it is there, and given up "
               "after as long again without an answer; inf: never asked",
               "60s");
  add_duration(
      app, "--drain-delay", o.drain_delay,
      "After TERM, how long to serve on while /healthz at that port says draining, so that "
      "load balancers send nobody new; 2s with --cluster, so that peers hear of it as well",
      "0");
  add_choice<GatewayThread>(
      app, "--gateway-thread", o.thread,
      "Serves kdb+ connections: a thread of its own, or the data thread, which takes fewer "
      "switches "
      "where cores are few (auto: with fewer than 3, --idle auto and no --core)",
      {{"auto", GatewayThread::automatic},
       {"own", GatewayThread::own},
       {"data", GatewayThread::data}});
  add_size(app, "--gateway-ring", all.gateway_ring,
           "Ring between gateway and data thread, each way");
  add_size(app, "--max-gathered", o.max_gathered,
           "Largest message that is held in memory because it must be: compressed, big endian, or "
           "an answer with a servant's own info");
  add_purge(app, o.purge);
  app.add_option("--query-log", o.query_log,
                 "How many answered queries are remembered, the newest; 0: none")
      ->capture_default_str();
  app.add_option("--admin-users", o.admin_users,
                 "Who may call .mserve.servants, clients, queries and stats, over the Unix socket")
      ->delimiter(',')
      ->option_text("USER,... [the broker's own user]");
  app.add_option("--users", o.users_file,
                 "Who may connect, and with which password: LBT's users.csv or kdb+'s -u file, see "
                 "mserve-client passwd --help. HUP reads it again")
      ->option_text("FILE [everybody]");
  app.add_option("--roles", o.roles_file, "What they may call: LBT's roles.csv. HUP reads it again")
      ->option_text("FILE [everything]");
  app.add_flag("--require-users", o.users_required,
               "Nobody may connect while no users are known, as before the cluster's document has "
               "brought its users-table; but for --admin-users over the Unix socket");
  app.add_option("--peer-user", o.peer_user,
                 "Whose connections are links of other brokers: they say who asked there, and his "
                 "role here decides. Without --users everybody may be one")
      ->option_text("USER [nobody]");
  app.add_option(
         "--wrap", o.wrap,
         "Each query goes to its servant as (`FN; `user; query), so that FN can decide in q "
         "who may ask what")
      ->option_text("FN [as it is]");
}

}  // namespace mserve::broker
