// SPDX-License-Identifier: Apache-2.0
// RFC 4648 base64 with padding: how etcd's JSON writes keys and values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mserve::cluster {

[[nodiscard]] std::string to_base64(std::string_view bytes);

/// Strict: whole groups of four, padding at the end only, no blanks, no bits left over.
/// @param bytes_max  of what it stands for.
/// @return nothing when it is none, or stands for more.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text, std::size_t bytes_max);

}  // namespace mserve::cluster
