// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mserve::shm {

/// What the names of peers are made of (Hello::name): [A-Za-z0-9._-].
[[nodiscard]] constexpr bool is_name_character(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

/// What tags and reasons are made of: printable ASCII.
[[nodiscard]] constexpr bool is_printable(char c) noexcept {
  return c >= ' ' && c <= '~';
}

}  // namespace mserve::shm
