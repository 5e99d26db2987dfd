// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>

#include "train/stage.hpp"

// What is counted here is the data thread's work; what `mserve-bench throughput` takes beyond it is
// the lines' way.
namespace mserve {
namespace {

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

// A window of requests through the broker and back. Items are requests.
void BM_Relay(benchmark::State& state) {
  const auto window = static_cast<std::uint32_t>(state.range(0));
  const broker::StageShape shape;
  broker::Stage stage(shape);
  for ([[maybe_unused]] auto _ : state) {
    stage.ask(window);
    for (std::uint32_t answered = 0; answered < window; answered += stage.take_answers()) {
      (void)stage.pass();
      stage.serve();
    }
  }
  state.SetItemsProcessed(state.iterations() * window);
}
BENCHMARK(BM_Relay)->ArgName("window")->Arg(1)->Arg(8)->Arg(64);

// A pass that finds nothing, of one client and one servant that are looked at in each, and of so
// many silent clients that have their turn. What comes meanwhile waits for half of it on average.
void BM_EmptyPass(benchmark::State& state) {
  constexpr int kPasses = 4096;
  constexpr auto kUntilCool = std::chrono::milliseconds(50);
  broker::StageShape shape;
  shape.clients = 1 + static_cast<std::uint32_t>(state.range(0));
  shape.options.client_ring = 4096;
  broker::Stage stage(shape);
  const auto cool_at = std::chrono::steady_clock::now() + kUntilCool;
  while (std::chrono::steady_clock::now() < cool_at) {
    (void)stage.relay_once(kPasses);
  }
  for ([[maybe_unused]] auto _ : state) {
    for (int i = 0; i < kPasses; ++i) {
      benchmark::DoNotOptimize(stage.pass());
    }
    state.PauseTiming();
    (void)stage.relay_once(kPasses);  // else these two would cool as well
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kPasses);
}
BENCHMARK(BM_EmptyPass)->ArgName("idle")->Arg(0)->Arg(10)->Arg(100)->Arg(1000);

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve
