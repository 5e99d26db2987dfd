// SPDX-License-Identifier: Apache-2.0
// Every reference message, in pieces at every boundary, against the verdict on the whole.
#include <gtest/gtest.h>

#include "mserve/kdb/message.hpp"
#include "unit/kdb/stream_verdict.hpp"
#include "vectors.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::vectors;

/// @return whether it was a plain message.
bool check(const std::vector<std::byte>& message) {
  const Result<Header> header = parse_header(message);
  if (!header || header->compression != Compression::none) {
    return false;
  }
  mserve::test::expect_one_verdict_at_every_boundary(std::span(message).subspan(kHeaderBytes),
                                                     kDepthMax, header->order);
  return true;
}

TEST(StreamVectors, EveryReferenceMessageIsJudgedAlikeInPieces) {
  MSERVE_NEED_VECTORS();
  int plain = 0;
  for (const auto& vector : vectors().all) {
    SCOPED_TRACE(vector.id);
    plain += check(vector.bytes) ? 1 : 0;
    for (const auto& other : vector.alternatives) {
      plain += check(other) ? 1 : 0;
    }
  }
  EXPECT_GE(plain, 200);
}

TEST(StreamVectors, EveryReferenceVerdictIsJudgedAlikeInPieces) {
  MSERVE_NEED_VECTORS();
  int plain = 0;
  for (const auto& verdict : vectors().verdicts) {
    SCOPED_TRACE(verdict.what);
    plain += check(verdict.bytes) ? 1 : 0;
  }
  EXPECT_GE(plain, 8);
}

}  // namespace
