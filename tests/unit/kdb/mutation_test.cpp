// SPDX-License-Identifier: Apache-2.0
// Goal: no bytes crash the codec, take absurd memory, or are judged differently by skipping and
// decoding. Method: damage good objects at random (seeded) and compare verdicts; what is accepted
// must survive a round trip.
#include <gtest/gtest.h>

#include "damage.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::damage;
using Bytes = std::vector<std::byte>;

void expect_one_verdict(const Bytes& bytes) {
  const Result<Value> value = decode(bytes);
  const Result<std::int8_t> judged = validate(bytes);
  ASSERT_EQ(value.ok(), judged.ok())
      << (value ? "" : to_text(value.error())) << (judged ? "" : to_text(judged.error()));
  for (const char* const rule : {"arg:1", "fn+arg:2", "option:a"}) {
    static_cast<void>(route_of(bytes, *parse_rule(rule), {.options = bytes}));
  }
  static_cast<void>(call_texts(bytes, 8));
  if (!value) {
    return;
  }
  EXPECT_EQ(value->type_code(), *judged);
  const Bytes again = encode(*value);
  const Result<Value> back = decode(again);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, *value);
  EXPECT_LE(again.size(), bytes.size());
  static_cast<void>(show(*value));
  static_cast<void>(to_json(*value));
  static_cast<void>(text(*value));
  static_cast<void>(call_of(*value));
}

TEST(Mutation, DamagedObjectsGetOneVerdictAndNeverCrash) {
  const std::uint64_t seed = mserve::test::test_seed(2024);
  SCOPED_TRACE(
      mserve::test::replay_hint(seed, "Mutation.DamagedObjectsGetOneVerdictAndNeverCrash"));
  std::mt19937_64 random(seed);
  std::vector<Bytes> originals;
  for (const Value& value : mserve::test::all_samples()) {
    originals.push_back(encode(value));
  }
  for (int round = 0; round < 30'000 && !testing::Test::HasFatalFailure(); ++round) {
    Bytes bytes = originals[random() % originals.size()];
    damage(bytes, random);
    expect_one_verdict(bytes);
  }
}

TEST(Mutation, RandomBytesGetOneVerdictAndNeverCrash) {
  const std::uint64_t seed = mserve::test::test_seed(99);
  SCOPED_TRACE(mserve::test::replay_hint(seed, "Mutation.RandomBytesGetOneVerdictAndNeverCrash"));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 30'000 && !testing::Test::HasFatalFailure(); ++round) {
    expect_one_verdict(mserve::test::random_object_bytes(random));
  }
}

TEST(Mutation, RandomTextsNeverCrashTheParser) {
  const std::uint64_t seed = mserve::test::test_seed(31);
  SCOPED_TRACE(mserve::test::replay_hint(seed, "Mutation.RandomTextsNeverCrashTheParser"));
  std::mt19937_64 random(seed);
  constexpr std::string_view kPieces[] = {
      "f",  "`",          "IBM", "\"", "a",        "\\", "(", ")", "[",       "]",   ";", "1",
      "0N", "2024.01.02", "D",   ":",  ".",        "-",  " ", "!", "enlist ", "([]", "+", ",",
      "0x", "b",          "e",   "$",  "`long$()", "::", "G", "#", "`s#",     "/",   "{", "}"};
  for (int round = 0; round < 50'000; ++round) {
    std::string line;
    for (std::uint64_t left = random() % 14; left > 0; --left) {
      line += kPieces[random() % std::size(kPieces)];
    }
    const Result<Value> value = parse_value(line);
    if (value) {
      const Result<Value> back = parse_value(text(*value));
      ASSERT_TRUE(back.ok()) << line << " -> " << text(*value);
    }
    const Result<Call, CallError> call = parse_call(line);
    if (call) {
      EXPECT_TRUE(validate(encode_call(call->name, call->arguments)).ok()) << line;
    }
  }
}

}  // namespace
