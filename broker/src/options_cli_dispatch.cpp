// SPDX-License-Identifier: Apache-2.0
#include "options_cli_dispatch.hpp"

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mserve/kdb/route.hpp"
#include "option_values.hpp"
#include "placement/rule.hpp"

namespace mserve::broker {

namespace {

void add_route(CLI::App& app, kdb::RouteRule& value) {
  app.add_option_function<std::string>(
         "--route",
         [&value](const std::string& given) {
           const auto rule = kdb::parse_rule(given);
           if (!rule) {
             throw CLI::ValidationError(
                 "--route", "'" + given + "' is not one of " + std::string(kdb::kRouteRules) +
                                " (N from 1 to 255; a q function is not run here)");
           }
           value = *rule;
         },
         "What the route of a request is: an argument of the call, its function, both, the user, "
         "the same for all, an entry of LBT's options")
      ->envname("MSERVE_ROUTING")
      ->default_str(kdb::to_text(value))
      ->option_text(std::string(kdb::kRouteRules) + " [" + kdb::to_text(value) + "]");
}

/// Of rules there may be many: each that is wrong is kept in `faults`, to be told with the others.
void add_rules(CLI::App& app, BrokerOptions& o, std::vector<std::string>& faults) {
  app.add_option_function<std::vector<std::string>>(
         "--rule",
         [&o, &faults](const std::vector<std::string>& texts) {
           o.placement.clear();
           faults.clear();
           for (const std::string& text : texts) {
             std::string fault;
             std::optional<Rule> rule = parse_rule(text, fault);
             if (rule) {
               o.placement.push_back(std::move(*rule));
             } else {
               faults.push_back("--rule: " + fault.append(" (in \"").append(text).append("\")"));
             }
           }
         },
         "Which servants a request may go to, the first that fits decides: "
         "\"[fn=A,B] [user=U] [route=R] [share=10%] -> TAGS [else TAGS]\", where TAGS are tags "
         "that "
         "servants attached with (group=hdb), without which they attached (!gpu), or any. May be "
         "given again")
      ->allow_extra_args(false)
      ->option_text("RULE");
}

}  // namespace

void add_dispatch(CLI::App& app, BrokerOptions& o, std::vector<std::string>& rule_faults) {
  add_choice<Policy>(
      app, "--policy", o.policy,
      "What chooses the servant: first free (orig), next free (even), the one that holds the "
      "route (match), that runs least (least), by the servants' weights (weighted), what "
      "--policy-plugin says (plugin, the default with one)",
      {{"orig", Policy::orig},
       {"even", Policy::even},
       {"match", Policy::match},
       {"least", Policy::least},
       {"weighted", Policy::weighted},
       {"plugin", Policy::plugin}})
      ->envname("MSERVE_ALGO");
  app.add_option(
         "--policy-plugin", o.policy_plugin_file,
         "Shared object with a policy (mserve/plugin.h), which runs in the broker; only its "
         "user and root may be able to write the file")
      ->option_text("FILE [none]");
  add_route(app, o.route);
  add_rules(app, o, rule_faults);
  app.add_flag("--sticky", o.sticky,
               "What one client or connection asks stays on one servant, in order; if that ends, "
               "its requests fail, and the next one chooses anew");
  app.add_option("--route-plugin", o.route_plugin_file,
                 "Shared object that says what the route of a kdb+ client's request is, instead of "
                 "--route")
      ->option_text("FILE [none]");
  add_duration(app, "--match-wait", o.match_wait,
               "How long a request waits for the busy servant that holds its route", "0");
  add_duration(app, "--route-expire", o.route_expire, "An unused route is given up after this long",
               "12s");
  app.add_option("--routes-per-servant", o.routes_per_servant,
                 "How many routes stay warm in one servant, the least recently used give way")
      ->capture_default_str();
  add_duration(app, "--spill-after", o.spill_after,
               "A request that waited for this long may go to a servant on another host; inf: only "
               "while none is here",
               "100ms");
  app.add_option("--retries", o.retries,
                 "How often a repeatable request is sent again when its servant dies")
      ->capture_default_str();
  add_duration(app, "--queue-timeout", o.queue_timeout,
               "The longest that a request waits for a servant; then: error 'queue timeout'",
               "inf");
  add_duration(
      app, "--timeout", o.timeout,
      "The longest that a request runs until its answer begins; then: error 'timeout', and "
      "its servant gets nothing new until it has answered",
      "inf");
  app.add_flag("--interrupt", o.interrupt,
               "What runs for nobody any more (--timeout, cancelled, hung up) is stopped: "
               "mserve-qshim sends SIGINT to its q. Not what streamed, what its servant has begun "
               "to answer, or what is not alone at its q (--credit of the shim)");
}

}  // namespace mserve::broker
