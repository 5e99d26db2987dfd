// SPDX-License-Identifier: Apache-2.0
#include "options_cli_cores.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace mserve::broker {

namespace {

/// Cores with + between them, as commas part the servants: 4, 0-2, 0+2-3.
std::optional<CoreList> cores_of_entry(std::string text) {
  if (text.find(',') != std::string::npos) {
    return std::nullopt;
  }
  std::replace(text.begin(), text.end(), '+', ',');
  auto cores = parse_cores(text);
  return cores && !cores->empty() ? cores : std::nullopt;
}

std::optional<ServantCores> parse_entry(const std::string& entry) {
  const std::size_t slash = entry.find('/');
  auto cores = cores_of_entry(entry.substr(0, slash));
  if (!cores) {
    return std::nullopt;
  }
  ServantCores servant{*std::move(cores), {}};
  if (slash != std::string::npos) {
    auto shim = cores_of_entry(entry.substr(slash + 1));
    if (!shim) {
      return std::nullopt;
    }
    servant.shim = *std::move(shim);
  }
  return servant;
}

std::optional<std::vector<ServantCores>> parse_servants(const std::string& text) {
  std::vector<ServantCores> all;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    auto entry = parse_entry(text.substr(begin, comma - begin));
    if (!entry) {
      return std::nullopt;
    }
    all.push_back(*std::move(entry));
    begin = comma + 1;
  }
  return all;
}

}  // namespace

void add_cores(CLI::App& app, BrokerOptions& o) {
  app.add_option("--core", o.core, "Pin the data thread to this core");
  app.add_option_function<std::string>(
         "--control-cores",
         [&o](const std::string& given) {
           const auto cores = parse_cores(given);
           if (!cores || cores->empty()) {
             throw CLI::ValidationError("--control-cores",
                                        "'" + given + "' is no list such as 0,2-3");
           }
           o.control_cores = *cores;
         },
         "Where all other threads stay, so that none comes to --core")
      ->option_text("LIST [wherever the process may run]");
  app.add_option("--gateway-core", o.gateway.core,
                 "Pin the thread of kdb+ clients (-p) to this core");
  app.add_option_function<std::string>(
         "--servant-cores",
         [&o](const std::string& given) {
           auto servants = parse_servants(given);
           if (!servants) {
             throw CLI::ValidationError(
                 "--servant-cores",
                 "'" + given +
                     "' is no list such as 4,5 (a core for each servant), 4/12,5/13 (of q "
                     "and of its shim) or 4+5,6-7 (several for each)");
           }
           o.servant_cores = *std::move(servants);
         },
         "Cores of the launched servants, one entry each: 4,5,6. Of q and of its shim: 4/12,5/13. "
         "Several each: 4+5,6-7")
      ->option_text("CORES,... [off --core and --gateway-core, if a core is left]");
}

}  // namespace mserve::broker
