// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/roles.hpp"
#include "mserve/kdb/result.hpp"

namespace mserve::broker {

/// Longest query of a restricted user, with its options: all of it is decoded, which takes up to 80
/// times as much.
inline constexpr std::size_t kJudgedBytesMax = std::size_t{1} << 20;
/// Longest options of anybody.
inline constexpr std::size_t kOptionsBytesMax = std::size_t{64} << 10;

/// Who asks.
struct Caller {
  std::string_view user;
  const Role& role;
};

/// What is sent to a servant in a message's place.
struct Admitted {
  /// The query, and behind it options that say who asks. Of a restricted user (`fn; arguments...):
  /// nothing of it was written by the client.
  std::vector<std::byte> payload;
  std::size_t query_bytes = 0;
};

/// Whether a user may ask this. If its role lists functions: a call of one of them with literal
/// arguments, encoded or as text. Nothing is evaluated. A pure function.
/// @param query, options  encoded objects; options may be empty.
/// @return the query (of a restricted user the call, encoded anew) and its options with the symbols
/// `user` and `role` in them, as LBT's servants expect them, whatever the client had there; or the
/// error's text as admit() of mserve/kdb/admit.hpp gives it.
[[nodiscard]] kdb::Result<Admitted, std::string> judge(std::span<const std::byte> query,
                                                       std::span<const std::byte> options,
                                                       const Caller& caller);

}  // namespace mserve::broker
