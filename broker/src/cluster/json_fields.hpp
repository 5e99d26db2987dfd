// SPDX-License-Identifier: Apache-2.0
// JSON that others wrote: bounded, and each field asked for by its kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace boost::json {  // NOLINT(readability-identifier-naming): not ours
class array;
class object;
class value;
}  // namespace boost::json

namespace mserve::cluster {

/// Deeper than anything that is expected here.
inline constexpr std::size_t kJsonDepthMax = 8;

/// One JSON object and nothing behind it.
/// @param any_bytes  strings may hold bytes that are not UTF-8, for whoever looks at them himself.
/// @return false: longer than `bytes_max`, deeper than kJsonDepthMax, no JSON, or no object.
[[nodiscard]] bool parse_object(std::string_view text, std::size_t bytes_max,
                                boost::json::value& out, bool any_bytes = false);

// Each returns nothing (null) where the key is absent or its value is of another kind.
[[nodiscard]] const boost::json::object* object_at(const boost::json::object& in,
                                                   std::string_view key);
[[nodiscard]] const boost::json::array* array_at(const boost::json::object& in,
                                                 std::string_view key);
/// @param bytes_max  a longer one is none.
[[nodiscard]] std::optional<std::string_view> text_at(const boost::json::object& in,
                                                      std::string_view key, std::size_t bytes_max);
/// A number from 0 to 2^63-1, or one in quotes: protobuf's JSON writes 64-bit integers so.
[[nodiscard]] std::optional<std::int64_t> count_at(const boost::json::object& in,
                                                   std::string_view key);
/// A finite number.
[[nodiscard]] std::optional<double> real_at(const boost::json::object& in, std::string_view key);
/// False where there is none.
[[nodiscard]] bool flag_at(const boost::json::object& in, std::string_view key);

/// Nothing but printable ASCII.
[[nodiscard]] bool printable(std::string_view text);
/// `text` on one line and not longer than `bytes_max`, for a log or a screen: what is not printable
/// ASCII becomes '?'.
[[nodiscard]] std::string shown(std::string_view text, std::size_t bytes_max = 200);

}  // namespace mserve::cluster
