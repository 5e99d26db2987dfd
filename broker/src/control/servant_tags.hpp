// SPDX-License-Identifier: Apache-2.0
// What the broker reads from the tags with which a servant attaches: words such as "gpu weight=3".
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dispatch/types.hpp"

namespace mserve::broker {

/// The number in the last `weight=N` of the tags; 1 when there is none. Nothing when N is not a
/// whole number from 1 to kWeightMax.
[[nodiscard]] inline std::optional<std::uint32_t> weight_of(std::string_view tags) noexcept {
  constexpr std::string_view kKey = "weight=";
  std::uint32_t weight = 1;
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find(' '));
    tags.remove_prefix(tag.size() < tags.size() ? tag.size() + 1 : tag.size());
    if (!tag.starts_with(kKey)) {
      continue;
    }
    const char* const end = tag.data() + tag.size();
    const auto [rest, error] = std::from_chars(tag.data() + kKey.size(), end, weight);
    if (error != std::errc{} || rest != end || weight < 1 || weight > kWeightMax) {
      return std::nullopt;
    }
  }
  return weight;
}

}  // namespace mserve::broker
