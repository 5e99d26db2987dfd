// SPDX-License-Identifier: Apache-2.0
// What the broker reads from the tags with which a servant attaches: words such as "gpu weight=3".
#pragma once

#include <cstdint>
#include <string_view>

#include "dispatch/types.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/shm/tags.hpp"

namespace mserve::broker {

using shm::take_tag;
using shm::weight_of;
static_assert(kWeightMax == shm::kTagWeightMax);

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
