// SPDX-License-Identifier: Apache-2.0
// Broadcasts: (`.mserve.broadcast; `group; query) is asked of every servant of a group, none of
// which runs anything else before all have answered. Here: what does not depend on connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/admin_view.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve::broker {

class Connection;
struct Pending;

struct BroadcastCall {
  std::string group;             ///< Empty: all servants.
  std::vector<std::byte> query;  ///< An encoded object: a string, a list or a symbol vector.
  std::string_view fault;        ///< Not empty: answer this error instead; a literal.
};

/// Whether a query names .mserve.broadcast as what is to be called.
/// @param head  an encoded little-endian object, or the beginning of one.
[[nodiscard]] bool names_broadcast(std::span<const std::byte> head) noexcept;

/// @param query  one whole encoded little-endian object.
/// @param query_bytes_max  a longer query inside has the fault "limit".
/// @return the call, or nothing when it is none: then it is an ordinary query.
[[nodiscard]] std::optional<BroadcastCall> parse_broadcast_call(std::span<const std::byte> query,
                                                                std::uint64_t query_bytes_max);

/// The servants among `sessions` with the tag group=GROUP, by number. @param group  empty: all.
[[nodiscard]] std::vector<SessionRow> broadcast_targets(std::span<const SessionRow> sessions,
                                                        std::string_view group);

/// What the servants of a broadcast answered, a row for each.
class BroadcastTable {
 public:
  /// @param servants  in the order of the rows. @param results_bytes_max  of all results together.
  BroadcastTable(std::span<const SessionRow> servants, std::uint64_t results_bytes_max);

  [[nodiscard]] std::size_t count() const noexcept { return rows_.size(); }
  [[nodiscard]] bool complete() const noexcept { return missing_ == 0; }
  /// Encoded results that it keeps, in bytes.
  [[nodiscard]] std::uint64_t results_bytes() const noexcept { return bytes_; }

  /// Room for a result that will come in parts; the row's set_ gives it back.
  /// @return false: there is not that much left.
  [[nodiscard]] bool reserve(std::size_t row, std::uint64_t bytes) noexcept;
  /// Each row is set once. A result that does not fit, or is nested too deeply for a table, becomes
  /// the error "limit".
  /// @param object  one well-formed object.
  void set_result(std::size_t row, std::span<const std::byte> object);
  void set_error(std::size_t row, std::string_view text);

  /// ([] servant: symbols; ok: booleans; result: list), encoded: of each servant its result, or the
  /// text of an error.
  [[nodiscard]] std::vector<std::byte> encoded() const;

 private:
  struct Row {
    std::string name;
    bool ok = false;
    std::uint64_t reserved_bytes = 0;
    std::vector<std::byte> object;
  };
  void set(std::size_t row, bool ok, std::span<const std::byte> object);

  std::vector<Row> rows_;
  std::size_t missing_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;           // Of the rows' objects.
  std::uint64_t reserved_bytes_ = 0;  // Beside these.
};

/// The one broadcast that a gateway has under way.
struct Broadcast {
  const Connection* owner = nullptr;      ///< Ends it when it is closed.
  std::uint64_t caller = 0;               ///< Pending id of the message that asked for it.
  std::vector<std::uint32_t> servants{};  ///< Numbers of their sessions, from 1.
  std::vector<Pending*> parts{};          ///< A request for each, as far as sent; null: it is over.
  std::vector<std::byte> payload{};       ///< Of each request, until all are sent.
  std::uint8_t flags = 0;
  shm::DeadlineExt deadline{};
  BroadcastTable table;

  [[nodiscard]] bool sending() const noexcept { return parts.size() < servants.size(); }
};

}  // namespace mserve::broker
