// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dispatch/dispatcher.hpp"

namespace mserve::broker::test {

/// A Dispatcher with a hand-wound clock and short names for what tests do all the time. Origin 0 is
/// open from the start.
class Desk {
 public:
  explicit Desk(const Options& options = {}, const Limits& limits = small()) : it(limits, options) {
    it.on(OriginOpened{0}, now);
  }
  ~Desk() { EXPECT_EQ(it.audit(), ""); }
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  static Limits small() {
    Limits limits;
    limits.servants_max = 16;
    limits.origins_max = 16;
    limits.requests_max = 1024;
    return limits;
  }

  void join(std::uint32_t count, std::uint32_t credit = 1) {
    for (std::uint32_t at = 0; at < count; ++at) {
      ASSERT_TRUE(it.on(ServantJoined{at, credit}, now));
    }
  }
  RequestId submit(std::uint64_t route = 0, std::uint32_t origin = 0, std::uint8_t retries = 0) {
    const Submitted answer =
        it.on(Submit{.origin = origin, .route = route, .bytes = 10, .retries = retries}, now);
    EXPECT_EQ(answer.refusal, Refusal::none);
    return answer.id;
  }
  /// The next decision that asks for something, or none.
  Decision next() {
    Decision decision;
    do {
      decision = it.next(now);
    } while (decision.kind == Decision::Kind::more);
    return decision;
  }
  /// Submits and returns the servant that it goes to at once; kNone if it has to wait.
  std::uint32_t run(std::uint64_t route = 0, std::uint32_t origin = 0, std::uint8_t retries = 0) {
    const RequestId id = submit(route, origin, retries);
    const Decision decision = next();
    if (decision.kind == Decision::Kind::none) {
      return kNone;
    }
    EXPECT_EQ(decision.kind, Decision::Kind::dispatch);
    EXPECT_EQ(decision.request, id);
    remember(decision);
    return decision.servant;
  }
  /// The servant finishes what it was given last.
  Completion done(std::uint32_t servant) {
    const Completion completion = it.on(Done{runs[servant], servant}, now);
    EXPECT_TRUE(completion.valid);
    return completion;
  }
  /// As next(), which must be a dispatch.
  RequestId sent() {
    const Decision decision = next();
    EXPECT_EQ(decision.kind, Decision::Kind::dispatch);
    remember(decision);
    return decision.request;
  }
  void expect_none() { EXPECT_EQ(next().kind, Decision::Kind::none); }
  void expect_over(Decision::Kind kind, RequestId id) {
    const Decision decision = next();
    EXPECT_EQ(decision.kind, kind);
    EXPECT_EQ(decision.request, id);
  }
  void remember(const Decision& decision) {
    if (decision.kind == Decision::Kind::dispatch) {
      runs[decision.servant] = decision.request;
      last = decision;
    }
  }

  Nanos now = 1'000'000;
  Dispatcher it;
  Decision last;                                             ///< The last dispatch.
  std::vector<RequestId> runs = std::vector<RequestId>(64);  ///< By servant.
};

inline constexpr Nanos kSecond = 1'000'000'000;

}  // namespace mserve::broker::test
