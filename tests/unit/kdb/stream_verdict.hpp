// SPDX-License-Identifier: Apache-2.0
// Holds StreamValidator to the verdict of validate(), however an object is cut.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <span>
#include <vector>

#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/stream.hpp"

namespace mserve::test {

/// The code that validate() gives; ok for what it accepts.
inline kdb::Errc verdict_of_whole(std::span<const std::byte> object, std::size_t depth_max,
                                  kdb::ByteOrder order) {
  const auto type = kdb::validate(object, depth_max, order);
  return type ? kdb::Errc::ok : type.error().code;
}

/// The code that a StreamValidator gives for the object in pieces that end at the `cuts` (growing)
/// and at its end.
inline kdb::Errc verdict_in_pieces(std::span<const std::byte> object,
                                   std::span<const std::size_t> cuts,
                                   std::size_t depth_max = kdb::kDepthMax,
                                   kdb::ByteOrder order = kdb::ByteOrder::little) {
  kdb::StreamValidator validator(object.size(), depth_max, order);
  std::size_t from = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t to = i < cuts.size() ? cuts[i] : object.size();
    const kdb::Errc code = validator.feed(object.subspan(from, to - from));
    if (code != kdb::Errc::ok) {
      EXPECT_FALSE(validator.done());
      EXPECT_EQ(validator.feed({}), code) << "a fault is final";
      return code;
    }
    from = to;
  }
  EXPECT_TRUE(validator.done()) << "neither a fault nor done at the end of the object";
  return kdb::Errc::ok;
}

/// Whole, byte by byte, and in two pieces at every boundary: one verdict.
inline void expect_one_verdict_at_every_boundary(std::span<const std::byte> object,
                                                 std::size_t depth_max = kdb::kDepthMax,
                                                 kdb::ByteOrder order = kdb::ByteOrder::little) {
  const kdb::Errc expected = verdict_of_whole(object, depth_max, order);
  std::vector<std::size_t> every(object.size());
  for (std::size_t i = 0; i < every.size(); ++i) {
    every[i] = i;
  }
  ASSERT_EQ(verdict_in_pieces(object, {}, depth_max, order), expected);
  ASSERT_EQ(verdict_in_pieces(object, every, depth_max, order), expected);
  for (const std::size_t cut : every) {
    ASSERT_EQ(verdict_in_pieces(object, {&cut, 1}, depth_max, order), expected) << "cut at " << cut;
  }
}

/// Up to seven random cuts, in order; two at one place make an empty piece.
inline std::vector<std::size_t> random_cuts(std::size_t size, std::mt19937_64& random) {
  std::vector<std::size_t> cuts(random() % 8);
  for (std::size_t& cut : cuts) {
    cut = random() % (size + 1);
  }
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

}  // namespace mserve::test
