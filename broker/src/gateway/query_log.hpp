// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gateway/conventions.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::broker {

/// How a query begins: NUL-terminated, printable ASCII, cut to fit.
using QueryHead = std::array<char, 96>;

/// The beginning of an encoded query: q text as it is, a call as `name[...]`, nothing for others.
void note_query(std::span<const std::byte> query, QueryHead& head) noexcept;

/// What is remembered of one answered query. Texts are NUL-terminated and cut to fit.
struct QueryRecord {
  std::int64_t qid = 0;
  std::int64_t time = 0;  ///< When it was answered: ns since 2000.01.01.
  std::uint64_t request_bytes = 0;
  std::uint64_t answer_bytes = 0;
  std::uint64_t elapsed_ns = 0;
  std::uint64_t execution_ns = 0;  ///< 0 when the query did not ask for it.
  std::uint32_t handle = 0;        ///< Number of the connection.
  std::uint32_t servant = 0;       ///< Number of the session that answered; 0: the broker.
  Convention convention = Convention::sync;
  Errc status = Errc::ok;
  std::array<char, 32> user{};
  std::array<char, 64> route{};
  QueryHead query{};
};

/// The last queries that went through the gateway. All memory is taken at the start. Threads: one.
class QueryLog {
 public:
  static constexpr std::size_t kRecords = 1024;

  QueryLog() : records_(kRecords) {}

  /// The place of the next record, blank, which takes that of the oldest.
  [[nodiscard]] QueryRecord& add() noexcept {
    QueryRecord& record = records_[count_++ % kRecords];
    record = QueryRecord{};
    return record;
  }
  /// The newest `count` (or as many as there are), oldest first.
  [[nodiscard]] std::vector<QueryRecord> last(std::size_t count) const;

 private:
  std::vector<QueryRecord> records_;
  std::size_t count_ = 0;
};

/// Now, as q counts it: nanoseconds since 2000.01.01, UTC.
[[nodiscard]] std::int64_t timestamp_now() noexcept;

}  // namespace mserve::broker
