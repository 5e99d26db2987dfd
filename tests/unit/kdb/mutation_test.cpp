// SPDX-License-Identifier: Apache-2.0
// Goal: no bytes crash the codec, take absurd memory, or are judged differently by skipping and
// decoding. Method: damage good objects at random (seeded) and compare verdicts; what is accepted
// must survive a round trip.
#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using Bytes = std::vector<std::byte>;

void damage(Bytes& bytes, std::mt19937_64& random) {
  constexpr int kTelling[] = {0, 1, 0x80, 0xff, 0x7f, 11, 98, 99, 100, 104, 127, 0xf5};
  for (std::uint64_t left = 1 + random() % 4; left > 0 && !bytes.empty(); --left) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<std::byte>(random());
        break;
      case 1:
        bytes[at] = static_cast<std::byte>(kTelling[random() % std::size(kTelling)]);
        break;
      case 2:
        bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      default:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     static_cast<std::byte>(random()));
    }
  }
}

void expect_one_verdict(const Bytes& bytes) {
  const Result<Value> value = decode(bytes);
  const Result<std::int8_t> judged = validate(bytes);
  ASSERT_EQ(value.ok(), judged.ok())
      << (value ? "" : to_text(value.error())) << (judged ? "" : to_text(judged.error()));
  static_cast<void>(route_of(bytes));
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
  constexpr int kTypes[] = {0, 1, 4, 7, 10, 11, 98, 99, 100, 101, 104, 106, 127, 0xff, 0xf5, 0xf9};
  for (int round = 0; round < 30'000 && !testing::Test::HasFatalFailure(); ++round) {
    Bytes bytes(1 + random() % 40);
    for (std::byte& byte : bytes) {
      byte = static_cast<std::byte>(
          random() % 3 == 0   ? random()
          : random() % 2 == 0 ? static_cast<std::uint64_t>(kTypes[random() % std::size(kTypes)])
                              : random() % 3);
    }
    expect_one_verdict(bytes);
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
