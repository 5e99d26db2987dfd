// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "access/roles.hpp"
#include "mserve/kdb/result.hpp"

namespace mserve::broker {

/// Longest query of a restricted user, with its options: all of it is decoded.
inline constexpr std::size_t kJudgedBytesMax = std::size_t{4} << 20;

/// What is sent to a servant in a query's place: nothing of it was written by the client.
struct Admitted {
  std::vector<std::byte> payload;  ///< (`fn; arguments...), and behind it the options, if any.
  std::size_t query_bytes = 0;
};

/// Whether a user may ask this: a call of a function that the role lists, with literal arguments,
/// encoded or as text. Nothing is evaluated. A pure function.
/// @param query, options  encoded objects; options may be empty.
/// @return the same call, encoded anew; or the error's text as admit() of mserve/kdb/admit.hpp
/// gives it.
[[nodiscard]] kdb::Result<Admitted, std::string> judge(std::span<const std::byte> query,
                                                       std::span<const std::byte> options,
                                                       const Role& role);

}  // namespace mserve::broker
