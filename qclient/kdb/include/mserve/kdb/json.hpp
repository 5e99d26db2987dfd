// SPDX-License-Identifier: Apache-2.0
// Values as JSON, in the manner of q's .j.j, but always valid JSON.
#pragma once

#include <string>
#include <string_view>

#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

/// One line of JSON.
///   boolean             true, false
///   integers, floats    numbers, floats with the fewest digits that read back; null -> null;
///   infinities -> "0w", "-0w" (strings) char, string        strings; bytes that are not UTF-8 are
///   taken as Latin-1 (ff becomes U+00FF) symbol              strings, the empty symbol "" guid,
///   temporal      strings: "2024-01-02" for dates, "2024-01" months,
///   "2024-01-02T10:00:00.000000000" timestamps and (to ms)
///                       datetimes, "0D01:00:00.000000000" timespans, "10:00", "10:00:00",
///                       "10:00:00.000"; null -> null; infinities as q writes them, "0Wd"
///   byte                numbers
///   lists, vectors      arrays
///   dictionary          object; keys that are no symbols or strings are written as text() does;
///   equal keys get no merging table, keyed table  array of row objects, key columns first
///   `::`                null
///   functions           strings: source of a lambda, else text()
///   error               {"error":"type"}
[[nodiscard]] std::string to_json(const Value& value);

/// `text` as a JSON string, in its quotes, on one line. Always valid, and safe to show: control
/// characters are escaped, those of a terminal (C1, delete) too; bytes that are not UTF-8 are taken
/// as Latin-1.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace mserve::kdb
