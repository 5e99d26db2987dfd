// SPDX-License-Identifier: Apache-2.0
// Numbers, temporals and their vectors from their words ("1", "0N", "3i"), which the parser has cut
// out already.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "mserve/kdb/value.hpp"

namespace mserve::kdb::detail {

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// The value of space-separated words: an atom for one word, else a vector; `0x..` and `101b` make
/// vectors by themselves. Empty when the words are no q literal. Linear in their length.
std::optional<Value> number_value(std::span<const std::string_view> words);

/// 8-4-4-4-12 hexadecimal digits.
std::optional<Guid> guid_of(std::string_view text) noexcept;

}  // namespace mserve::kdb::detail
