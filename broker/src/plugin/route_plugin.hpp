// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "mserve/kdb/route.hpp"
#include "mserve/plugin.h"

namespace mserve::broker {

/// What peers are told instead of a routing rule: none that they know, so they send no route unless
/// their program gives one.
inline constexpr std::string_view kPluginRule = "plugin";

struct PluginRoute {
  kdb::Route route;
  bool fault = false;  ///< The plugin's answer was wrong; there is no route.
};

/// The route that a plugin gives a query. The hash is that of kdb::route_of_text(), so that a
/// client that names the same text (QueryOptions::route) finds the same servants. A query that is
/// no call has no route, and the plugin does not hear of it.
/// @param query  encoded, little endian; hostile.
[[nodiscard]] PluginRoute route_of(const mserve_route_table& plugin,
                                   std::span<const std::byte> query, std::string_view user);

}  // namespace mserve::broker
