// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "mserve/shm/errc.hpp"

namespace mserve {

/// Trying the same again will not help.
[[nodiscard]] inline bool permanent(Errc code) noexcept {
  return code == Errc::invalid || code == Errc::access || code == Errc::version_mismatch ||
         code == Errc::unsafe_directory;
}

/// Of several failures the first that is not permanent, else the first; `ok` for none.
[[nodiscard]] inline Errc most_hopeful(const std::vector<Errc>& codes) noexcept {
  const auto at = std::find_if_not(codes.begin(), codes.end(), permanent);
  return at != codes.end() ? *at : codes.empty() ? Errc::ok : codes.front();
}

}  // namespace mserve
