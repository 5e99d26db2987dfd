// SPDX-License-Identifier: Apache-2.0
#include "options_cli_log.hpp"

#include <CLI/CLI.hpp>

#include "option_values.hpp"

namespace mserve::broker {

void add_slow_and_trace(CLI::App& app, BrokerOptions& o) {
  app.add_option_function<std::string>(
         "--slow",
         [&o](const std::string& given) {
           if (!parse_milliseconds(given, o.slow)) {
             throw CLI::ValidationError("--slow",
                                        "'" + given +
                                            "' is not a time such as 500us, 20ms, 12s, inf or 20 "
                                            "(milliseconds)");
           }
         },
         "A request that took this long in the broker and its servant is logged, with its times "
         "(slow_query); a bare number is milliseconds; inf: none is")
      ->default_str("inf")
      ->option_text("TIME [inf]");
  app.add_option(
         "--trace", o.trace,
         "File for the times of each --trace-every'th request: Chrome trace JSON, or CSV if "
         "its name ends in .csv. An old one is replaced")
      ->option_text("FILE [none]");
  app.add_option("--trace-every", o.trace_every, "Of how many requests one is traced; 1: each")
      ->capture_default_str();
  add_size(app, "--trace-max", o.trace_max, "Largest size of that file; then no more is traced");
}

}  // namespace mserve::broker
