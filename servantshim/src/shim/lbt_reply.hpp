// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mserve/kdb/types.hpp"

namespace mserve::shim {

/// Bytes from which lbt_opening() can always tell: list, attribute, wide count, long atom.
inline constexpr std::size_t kLbtOpeningBytes = 1 + 1 + 8 + 9;

/// What the first bytes of an async message say about a reply of LBT's form.
struct LbtOpening {
  /// A list that starts with a long atom, or a vector of longs (what q makes of (5;42)).
  bool is_reply = false;
  /// All items lie in one vector of longs: no type byte stands before the result.
  bool joined = false;
  std::uint64_t qid = 0;
  std::uint64_t items = 0;        ///< Of the list, qid included.
  std::size_t result_offset = 0;  ///< Where the second item starts.
};

/// @param body  the start of the body: all of it, or at least kLbtOpeningBytes. Nothing is believed
/// beyond it.
[[nodiscard]] LbtOpening lbt_opening(std::span<const std::byte> body,
                                     kdb::ByteOrder order) noexcept;

}  // namespace mserve::shim
