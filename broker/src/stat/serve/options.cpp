// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/options.hpp"

#include <CLI/CLI.hpp>

namespace mserve::stat {

CLI::App* describe_serve(CLI::App& app, ServeOptions& options) {
  CLI::App* const serve = app.add_subcommand(
      "serve",
      "Answers HTTP, in a process of its own, until SIGTERM or Ctrl-C:\n"
      "  /              a page that keeps itself up to date: servants, latency, routes, queries\n"
      "  /metrics       for Prometheus, text format 0.0.4\n"
      "  /healthz       200 while a broker is there and moves, else 503; one JSON object says why\n"
      "  /api/NAME.json servants, clients, routes, latency, events, queries, counters, top: as\n"
      "                 `mserve-stat NAME --json`; ?n=N as -n, and ?servant=N of latency\n"
      "It waits for a broker that is not there, and finds the next one after a restart.\n"
      "Whoever reaches the port sees what the broker's user sees, names and queries included: on\n"
      "127.0.0.1 these are all users of this host. --no-queries leaves the queries out. There is "
      "no\n"
      "password and no TLS: put a web server with both in front of it where others may look.");
  serve->add_option("--host", options.host, "The IP address to listen at; no host name")
      ->option_text("ADDRESS [127.0.0.1]");
  constexpr int kPortMax = 65535;
  serve->add_option("--port", options.port, "The port; 0: any free one, which is printed")
      ->check(CLI::Range(0, kPortMax))
      ->option_text("PORT [8080]");
  serve
      ->add_option(
          "--agent-port", options.agent_port,
          "Tells HAProxy's agent-check, there, how the broker is: ready up, drain or down; "
          "0: any free port, which is printed")
      ->check(CLI::Range(0, kPortMax))
      ->option_text("PORT [none]");
  serve
      ->add_option("--server-name", options.server_names,
                   "Answers requests sent to this host name too; may be given again")
      ->option_text("NAME [addresses, localhost and this host's name]");
  serve->add_flag("--no-queries", options.no_queries, "Does not show the text of recent queries");
  return serve;
}

}  // namespace mserve::stat
