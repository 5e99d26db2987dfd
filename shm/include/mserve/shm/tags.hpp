// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mserve::shm {

// The tags with which a servant attaches (Hello::tags): words such as "gpu weight=3", parted by
// blanks. What they mean is between servants and the broker's rules; `weight` alone has a form of
// its own, which a servant can look at before it attaches and a broker refuses otherwise. Pure
// functions of any text, from any thread.

/// The highest `weight=N`.
inline constexpr std::uint32_t kTagWeightMax = 1000;

/// Takes the first of the tags off their front. @return it; empty where blanks follow each other.
[[nodiscard]] constexpr std::string_view take_tag(std::string_view& tags) noexcept {
  const std::string_view tag = tags.substr(0, tags.find(' '));
  tags.remove_prefix(tag.size() < tags.size() ? tag.size() + 1 : tag.size());
  return tag;
}

/// The number in the last `weight=N` of the tags; 1 when there is none. Nothing when some N is not
/// a whole number from 1 to kTagWeightMax: say so, and do not attach.
[[nodiscard]] inline std::optional<std::uint32_t> weight_of(std::string_view tags) noexcept {
  constexpr std::string_view kKey = "weight=";
  std::uint32_t weight = 1;
  while (!tags.empty()) {
    const std::string_view tag = take_tag(tags);
    if (!tag.starts_with(kKey)) {
      continue;
    }
    const char* const end = tag.data() + tag.size();
    const auto [rest, error] = std::from_chars(tag.data() + kKey.size(), end, weight);
    if (error != std::errc{} || rest != end || weight < 1 || weight > kTagWeightMax) {
      return std::nullopt;
    }
  }
  return weight;
}

}  // namespace mserve::shm
