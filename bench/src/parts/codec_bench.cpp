// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/value.hpp"

// What kdb+ objects cost: checking them, reading them, writing them.
namespace mserve::kdb {
namespace {

/// What travels: a short call, a vector of longs, a vector of symbols.
enum Shape : std::int64_t { call, longs, symbols };

Value value_of(std::int64_t shape, std::int64_t count) {
  const auto n = static_cast<std::size_t>(count);
  if (shape == longs) {
    return Value::longs(std::vector<std::int64_t>(n, 42));
  }
  return Value::symbols(std::vector<std::string>(n, "VOD.L"));
}

std::vector<std::byte> object_of(const benchmark::State& state) {
  if (state.range(0) == call) {
    const std::array<Value, 2> arguments = {Value::symbol("VOD.L"),
                                            Value::chars(std::string(20, 'x'))};
    return encode_call("getTrades", arguments);
  }
  return encode(value_of(state.range(0), state.range(1)));
}

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

void BM_Skip(benchmark::State& state) {
  const std::vector<std::byte> object = object_of(state);
  for ([[maybe_unused]] auto _ : state) {
    auto size = skip(object);
    benchmark::DoNotOptimize(size);
  }
}
void BM_Decode(benchmark::State& state) {
  const std::vector<std::byte> object = object_of(state);
  for ([[maybe_unused]] auto _ : state) {
    auto value = decode(object);
    benchmark::DoNotOptimize(value);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(object.size()));
}
void BM_Encode(benchmark::State& state) {
  const std::vector<std::byte> object = object_of(state);
  const Value value = decode(object).value();
  std::vector<std::byte> buffer(object.size());
  for ([[maybe_unused]] auto _ : state) {
    auto written = encode_to(value, buffer);
    benchmark::DoNotOptimize(written);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(object.size()));
}
// What a client does for each request beside encoding it.
void BM_Route(benchmark::State& state) {
  const std::vector<std::byte> object = object_of(state);
  const RouteRule rule = parse_rule("fn+arg:1").value();
  for ([[maybe_unused]] auto _ : state) {
    auto route = route_of(object, rule);
    benchmark::DoNotOptimize(route);
  }
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"shape", "count"})
      ->Args({call, 0})
      ->Args({longs, 1000})
      ->Args({longs, 1000000})
      ->Args({symbols, 1000});
}
BENCHMARK(BM_Skip)->Apply(shapes);
BENCHMARK(BM_Decode)->Apply(shapes);
BENCHMARK(BM_Encode)->Apply(shapes);
BENCHMARK(BM_Route)->ArgNames({"shape", "count"})->Args({call, 0});

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve::kdb
