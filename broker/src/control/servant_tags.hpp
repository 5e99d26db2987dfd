// SPDX-License-Identifier: Apache-2.0
// What the broker reads from the tags with which a servant attaches: words such as "gpu weight=3".
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dispatch/types.hpp"
#include "mserve/kdb/route.hpp"

namespace mserve::broker {

/// Takes the first of the tags, parted by blanks, off their front; empty where blanks follow each
/// other.
[[nodiscard]] inline std::string_view take_tag(std::string_view& tags) noexcept {
  const std::string_view tag = tags.substr(0, tags.find(' '));
  tags.remove_prefix(tag.size() < tags.size() ? tag.size() + 1 : tag.size());
  return tag;
}

/// Whether `word`, which is not empty, is one of the tags.
[[nodiscard]] inline bool has_tag(std::string_view tags, std::string_view word) noexcept {
  while (!tags.empty()) {
    if (take_tag(tags) == word) {
      return true;
    }
  }
  return false;
}

/// How the tag begins with which a servant says that it is a link to another broker: `peer=ID`.
inline constexpr std::string_view kLinkTag = "peer=";

/// Whether these are the tags of a link to another broker.
[[nodiscard]] inline bool is_link(std::string_view tags) noexcept {
  while (!tags.empty()) {
    if (take_tag(tags).starts_with(kLinkTag)) {
      return true;
    }
  }
  return false;
}

/// The number in the last `weight=N` of the tags; 1 when there is none. Nothing when N is not a
/// whole number from 1 to kWeightMax.
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
    if (error != std::errc{} || rest != end || weight < 1 || weight > kWeightMax) {
      return std::nullopt;
    }
  }
  return weight;
}

/// ServantJoined::home: a hash of the last `peer=ID` of the tags, ID being the cluster-wide id of
/// the broker that the servant leads to; 0 when there is none. It is that of a route with the text
/// ID, which is the same everywhere.
[[nodiscard]] inline std::uint64_t home_of(std::string_view tags) {
  std::string_view peer;
  while (!tags.empty()) {
    const std::string_view tag = take_tag(tags);
    peer = tag.starts_with(kLinkTag) ? tag.substr(kLinkTag.size()) : peer;
  }
  return kdb::route_of_text(peer).hash;
}

}  // namespace mserve::broker
