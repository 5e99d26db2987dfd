// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "dispatch/dispatcher.hpp"

// What one decision costs. The Dispatcher is the broker's critical path, so it is measured alone:
// no rings, no payload, time passed in as a number.
//
// Budget: BM_RoundTrip 30 ns; BM_Decision 150 ns, and no more than 2.5 times from 1,000 to
// 1,000,000 queued. One iteration of BM_Decision is a whole life: Done, Submit, next().
namespace mserve::broker {
namespace {

// Cheap and repeatable: the generator must not show in the figure.
class Random {
 public:
  std::uint32_t below(std::uint32_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>(((state_ >> 32) * bound) >> 32);
  }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15;
};

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

// One client, one servant, nothing queued: Submit, next() = dispatch, Done.
void BM_RoundTrip(benchmark::State& state) {
  const auto policy = static_cast<Policy>(state.range(0));
  const auto route = static_cast<std::uint64_t>(state.range(1));
  Dispatcher dispatcher({}, {.policy = policy});
  Nanos now = 1;
  dispatcher.on(ServantJoined{.servant = 0}, now);
  dispatcher.on(OriginOpened{.origin = 0}, now);
  for ([[maybe_unused]] auto _ : state) {
    ++now;
    dispatcher.on(Submit{.origin = 0, .route = route, .bytes = 40}, now);
    const Decision decision = dispatcher.next(now);
    const Completion completion = dispatcher.on(Done{decision.request, decision.servant}, now);
    benchmark::DoNotOptimize(completion);
  }
}
BENCHMARK(BM_RoundTrip)
    ->ArgNames({"policy", "route"})
    ->ArgsProduct({{static_cast<int>(Policy::orig), static_cast<int>(Policy::even),
                    static_cast<int>(Policy::match)},
                   {0, 7}});

// All servants busy and `queued` requests waiting, of 64 origins and `routes` routes. Each
// iteration finishes one request, submits another and takes the one decision that follows.
void BM_Decision(benchmark::State& state) {
  const auto servants = static_cast<std::uint32_t>(state.range(0));
  const auto queued = static_cast<std::uint32_t>(state.range(1));
  const auto routes = static_cast<std::uint32_t>(state.range(2));
  const auto policy = static_cast<Policy>(state.range(3));
  constexpr std::uint32_t kOrigins = 64;
  Limits limits;
  limits.servants_max = servants;
  limits.requests_max = servants + queued + 1;
  limits.queued_bytes_max = kForever;
  Dispatcher dispatcher(limits, {.policy = policy});
  Random random;
  Nanos now = 1;
  for (std::uint32_t origin = 0; origin < kOrigins; ++origin) {
    dispatcher.on(OriginOpened{origin}, now);
  }
  for (std::uint32_t servant = 0; servant < servants; ++servant) {
    dispatcher.on(ServantJoined{.servant = servant}, now);
  }
  const auto submit = [&] {
    dispatcher.on(Submit{.origin = random.below(kOrigins),
                         .route = routes == 0 ? 0 : 1 + random.below(routes),
                         .bytes = 40},
                  ++now);
  };
  std::vector<RequestId> running(servants);
  for (std::uint32_t servant = 0; servant < servants; ++servant) {
    submit();
    const Decision decision = dispatcher.next(now);
    running[decision.servant] = decision.request;
  }
  for (std::uint32_t count = 0; count < queued; ++count) {
    submit();
  }
  std::uint32_t next_done = random.below(servants);
  for ([[maybe_unused]] auto _ : state) {
    const std::uint32_t servant = next_done;
    const Completion completion = dispatcher.on(Done{running[servant], servant}, now);
    benchmark::DoNotOptimize(completion);
    // As the data thread does when it sees an answer; there the answer is passed on in between,
    // here the rest of this turn.
    next_done = random.below(servants);
    dispatcher.prefetch_done(running[next_done], next_done);
    submit();
    const Decision decision = dispatcher.next(now);
    running[decision.servant] = decision.request;
  }
  const Counters& counters = dispatcher.counters();
  state.counters["hit_share"] =
      static_cast<double>(counters.hits) / static_cast<double>(counters.dispatched);
}
BENCHMARK(BM_Decision)
    ->ArgNames({"servants", "queued", "routes", "policy"})
    ->ArgsProduct({{10, 1000, 10000},
                   {0, 1000, 1000000},
                   {0, 8, 10000},
                   {static_cast<int>(Policy::orig), static_cast<int>(Policy::match),
                    static_cast<int>(Policy::least), static_cast<int>(Policy::weighted)}});

// BM_RoundTrip for a servant of several classes, asked for in turn: what rules of placement cost.
void BM_RoundTripOfClasses(benchmark::State& state) {
  const auto classes = static_cast<std::uint32_t>(state.range(0));
  Limits limits;
  limits.classes_max = classes;
  Dispatcher dispatcher(limits);
  Nanos now = 1;
  for (std::uint32_t number = 1; number < classes; ++number) {
    dispatcher.on(ClassDefined{.number = number, .pools = 1}, now);
  }
  dispatcher.on(ServantJoined{.servant = 0}, now);
  dispatcher.on(OriginOpened{.origin = 0}, now);
  for ([[maybe_unused]] auto _ : state) {
    ++now;
    dispatcher.on(Submit{.origin = 0,
                         .route = 7,
                         .bytes = 40,
                         .class_number = static_cast<std::uint32_t>(now % classes)},
                  now);
    const Decision decision = dispatcher.next(now);
    const Completion completion = dispatcher.on(Done{decision.request, decision.servant}, now);
    benchmark::DoNotOptimize(completion);
  }
}
BENCHMARK(BM_RoundTripOfClasses)->ArgName("classes")->Arg(1)->Arg(2)->Arg(8)->Arg(64);

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve::broker
