// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace mserve::stat {

/// What a user can set about `mserve-stat serve`.
struct ServeOptions {
  std::string host = "127.0.0.1";  ///< A numeric address of either family.
  std::uint16_t port = 8080;       ///< 0: any free one.
  /// Where HAProxy's agent-check is answered, 0: at any free one; nothing: nowhere.
  std::optional<std::uint16_t> agent_port{};
  /// Names, beside addresses, `localhost` and this machine's own, that requests may be sent to.
  std::vector<std::string> server_names{};
  bool no_queries = false;  ///< Does not show the text of recent queries.
};

/// Adds the subcommand to those of `app`.
/// @param options  filled by app.parse(); outlives it.
/// @return the subcommand, for its callback.
CLI::App* describe_serve(CLI::App& app, ServeOptions& options);

}  // namespace mserve::stat
