// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "mserve/kdb/value.hpp"

namespace mserve::stat {

/// A table as far as it fits a screen.
struct FittedTable {
  kdb::Value table;
  std::size_t left_out = 0;  ///< So many columns.
};

/// Leaves out columns of servants, clients or routes, what matters least first, until the rest is
/// narrower than a screen, or only what matters most is left. Of a table with rates the totals
/// matter less. Times are texts: "3.42 us".
/// @param width  of the screen in characters, 10 to 2000.
[[nodiscard]] FittedTable fit_table(const kdb::Value& table, std::size_t width);

/// The broker's table of queries as people read it: when (UTC), who served, how it ended, how long
/// it took and what was asked, and what else there is room for. Another table stays as it is.
[[nodiscard]] FittedTable fit_queries(const kdb::Value& table, std::size_t width);

}  // namespace mserve::stat
