// SPDX-License-Identifier: Apache-2.0
// The tags with which a servant attaches, from what its command line says.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace mserve {

/// Tags parted by blanks. @param tags  parted by blanks or commas. @param group  may be empty.
[[nodiscard]] inline std::string servant_tags(std::string tags, std::string_view group) {
  std::replace(tags.begin(), tags.end(), ',', ' ');
  if (!group.empty()) {
    tags.insert(0, "group=" + std::string(group) + (tags.empty() ? "" : " "));
  }
  return tags;
}

}  // namespace mserve
