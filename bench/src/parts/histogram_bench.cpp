// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>

#include "mserve/shm/histogram.hpp"

// What a histogram costs the threads that record into it, and those who read it.
namespace mserve::shm {
namespace {

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

// Values spread over `decades` powers of ten: more of them touch more cache lines.
void BM_HistogramRecord(benchmark::State& state) {
  const auto histogram = std::make_unique<Histogram>();
  std::uint64_t spread = 1;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    spread *= 10;
  }
  std::uint64_t random = 0x9e3779b97f4a7c15;
  for ([[maybe_unused]] auto _ : state) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    histogram->record(500 + random % spread);
  }
  benchmark::DoNotOptimize(histogram->count());
}
BENCHMARK(BM_HistogramRecord)->ArgName("decades")->Arg(0)->Arg(3)->Arg(7);

void BM_HistogramPercentile(benchmark::State& state) {
  const auto histogram = std::make_unique<Histogram>();
  for (std::uint64_t ns = 1; ns <= 100'000; ++ns) {
    histogram->record(ns);
  }
  for ([[maybe_unused]] auto _ : state) {
    auto p99 = histogram->percentile(99);
    benchmark::DoNotOptimize(p99);
  }
}
BENCHMARK(BM_HistogramPercentile);

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve::shm
