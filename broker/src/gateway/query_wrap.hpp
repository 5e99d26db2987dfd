// SPDX-License-Identifier: Apache-2.0
// `--wrap FN`: a query goes to its servant as (`FN; `user; query), so that q itself can decide who
// may ask what.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "gateway/object_writer.hpp"

namespace mserve::broker {

/// Longest name that --wrap takes.
inline constexpr std::size_t kWrapNameMax = 128;

/// Whether q can call a function by this name: letters, digits, `.` and `_`, a letter first; more
/// of them behind dots, one of which may be first.
[[nodiscard]] constexpr bool is_q_name(std::string_view name) noexcept {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  bool part_begins = true;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool inside = letter(c) || (c >= '0' && c <= '9') || c == '_';
    if (c == '.' ? part_begins && i > 0 : !(part_begins ? letter(c) : inside)) {
      return false;
    }
    part_begins = c == '.';
  }
  return !part_begins && name.size() <= kWrapNameMax;
}

/// Bytes that put_wrap_lead() adds. @param user  without NUL.
[[nodiscard]] constexpr std::size_t wrap_lead_bytes(std::string_view function,
                                                    std::string_view user) noexcept {
  constexpr std::size_t kSymbolBytes = 2;  // type and NUL
  return kListHeadBytes + kSymbolBytes + function.size() + kSymbolBytes + user.size();
}

/// Appends what stands in front of the query: the head of a list of three and its first two items.
inline void put_wrap_lead(std::vector<std::byte>& to, std::string_view function,
                          std::string_view user) {
  const std::size_t begin = to.size();
  to.resize(begin + wrap_lead_bytes(function, user));
  const std::span<std::byte> all(to);
  ObjectWriter writer{all.subspan(begin)};
  writer.vector_head(kList, 3);
  for (const std::string_view name : {function, user}) {
    writer.byte(kSymbolAtom);
    writer.symbol(name);
  }
}

}  // namespace mserve::broker
