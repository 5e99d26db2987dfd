// SPDX-License-Identifier: Apache-2.0
// The reference encodings made by other people's encoders, if they are at hand:
// $MSERVE_SHARED_DIR/vectors.json, else
// ../shared/vectors.json beside the source tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mserve::test {

struct Vector {
  std::string id;
  std::string q;
  std::string kind;
  std::vector<std::byte> bytes;
  std::vector<std::vector<std::byte>> alternatives;
  std::string decodes_to;
  bool made_by_javakdb = false;
  bool recorded_from_q = false;
};

struct Verdict {
  std::string what;
  std::vector<std::byte> bytes;
  bool accepted = false;
};

struct Head {
  std::string what;
  std::uint64_t total = 0;
  std::vector<std::byte> bytes;
};

struct Vectors {
  std::string problem;  ///< Why there are none; empty when they were read.
  std::vector<Vector> all;
  std::map<std::string, std::size_t> by_id;
  std::vector<Verdict> verdicts;
  std::vector<Head> heads;

  const Vector* find(const std::string& id) const {
    const auto found = by_id.find(id);
    return found == by_id.end() ? nullptr : &all[found->second];
  }
};

/// Read once, on first use.
const Vectors& vectors();

std::vector<std::byte> from_hex(const std::string& hex);
std::string to_hex(const std::vector<std::byte>& bytes);

}  // namespace mserve::test

/// Skips the test, saying why, when the reference vectors are not there.
#define MSERVE_NEED_VECTORS()                                                  \
  if (!::mserve::test::vectors().problem.empty()) {                            \
    GTEST_SKIP() << "missing, skipped: " << ::mserve::test::vectors().problem; \
  }
