// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "demo/trades.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/servant/invocation.hpp"

namespace mserve::demo {

inline constexpr int kProc1Passes = 100;
inline constexpr int kProc2Passes = 400;

/// proc1 and proc2 of LBT's quickstart: statistics of the trades whose symbol is in `symbols`.
/// @param symbols  a symbol, or a vector of symbols; unknown ones and repetitions add nothing.
/// @return a table SYM MAX MIN OPEN CLOSE AVG VWAP DEV VAR, ascending by SYM; or the error `type`.
[[nodiscard]] kdb::Value proc(const Trades& trades, const kdb::Value& symbols, int passes);

/// echo, proc1 and proc2. A wrong number of arguments is the error `rank`.
/// @param trades  must outlive the functions.
[[nodiscard]] std::vector<std::pair<std::string, servant::Function>> api(const Trades& trades);

}  // namespace mserve::demo
