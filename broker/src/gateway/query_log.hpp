// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gateway/conventions.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::broker {

/// How a query begins: NUL-terminated, printable ASCII, cut to fit.
using QueryHead = std::array<char, 96>;

/// The beginning of an encoded query: q text as it is, a call as `name[...]`, nothing for others.
void note_query(std::span<const std::byte> query, QueryHead& head) noexcept;

/// LBT's options of a query, encoded, if they are no longer than this.
using QueryOptionsHead = std::array<std::byte, 128>;

/// What is remembered of one answered query. Texts are NUL-terminated and cut to fit.
struct QueryRecord {
  std::int64_t qid = 0;
  std::int64_t client_qid = kdb::kNullLong;  ///< The client's own number for it, if it gave one.
  std::int64_t time = 0;                     ///< When it was answered: ns since 2000.01.01.
  std::uint64_t answered_ns = 0;             ///< The same by CLOCK_MONOTONIC.
  std::uint64_t request_bytes = 0;
  std::uint64_t answer_bytes = 0;
  std::uint64_t elapsed_ns = 0;
  std::uint64_t execution_ns = 0;        ///< 0 when the query did not ask for it.
  std::int32_t backlog = kdb::kNullInt;  ///< The same.
  std::uint32_t handle = 0;              ///< Number of the connection.
  std::uint32_t servant = 0;             ///< Number of the session that answered; 0: the broker.
  std::uint8_t options_bytes = 0;        ///< Of `options`; 0: none, or too long.
  Convention convention = Convention::sync;
  Errc status = Errc::ok;
  std::array<char, 32> user{};
  std::array<char, 64> route{};
  QueryHead query{};
  QueryOptionsHead options{};
};

/// The last queries that went through the gateway, forgotten by age and by number. All memory is
/// taken at the start. Threads: one. Times are CLOCK_MONOTONIC nanoseconds that only grow.
class QueryLog {
 public:
  /// @param records  the most that are remembered; 0: none.
  /// @param keep_ns  each is forgotten so long after it was added; kForever: never.
  QueryLog(std::size_t records, std::uint64_t keep_ns)
      : records_(std::max<std::size_t>(records, 1)), most_(records), keep_ns_(keep_ns) {}

  /// The place of the next record, blank but for answered_ns, which takes that of the oldest.
  [[nodiscard]] QueryRecord& add(std::uint64_t now_ns) noexcept {
    QueryRecord& record = records_[count_++ % records_.size()];
    record = QueryRecord{};
    record.answered_ns = now_ns;
    return record;
  }
  /// The newest `count` (or as many as there are) that are not to be forgotten, oldest first.
  [[nodiscard]] std::vector<QueryRecord> last(std::size_t count, std::uint64_t now_ns) const;
  /// Wipes some of what is to be forgotten; bounded, so to be called now and then.
  void purge(std::uint64_t now_ns) noexcept;

 private:
  [[nodiscard]] bool expired(const QueryRecord& record, std::uint64_t now_ns) const noexcept {
    return now_ns - record.answered_ns >= keep_ns_;
  }

  std::vector<QueryRecord> records_;
  std::size_t most_;
  std::uint64_t keep_ns_;
  std::size_t count_ = 0;   ///< Added since the start.
  std::size_t purged_ = 0;  ///< Of these, the oldest that are wiped.
};

/// Now, as q counts it: nanoseconds since 2000.01.01, UTC.
[[nodiscard]] std::int64_t timestamp_now() noexcept;

}  // namespace mserve::broker
