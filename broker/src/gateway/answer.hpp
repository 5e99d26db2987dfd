// SPDX-License-Identifier: Apache-2.0
// What surrounds a result on its way to a kdb+ client, so that the result itself can stream: the
// message is `before`, the encoded result, `after`. Errors are results too, made by the functions
// further down. All messages are plain and little endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/types.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve::broker {

/// Bytes that are few most of the time: up to kInlineBytes lie inside, more in memory of their own.
class FewBytes {
 public:
  /// Header, list head and the longest id.
  static constexpr std::size_t kInlineBytes = 23;

  /// Makes room for exactly `bytes` bytes, to be written through it. Old content is lost.
  [[nodiscard]] std::span<std::byte> resize(std::size_t bytes);
  [[nodiscard]] std::span<const std::byte> span() const noexcept {
    return many_.empty() ? std::span<const std::byte>(few_).first(few_bytes_)
                         : std::span<const std::byte>(many_);
  }

 private:
  std::array<std::byte, kInlineBytes> few_{};
  std::uint8_t few_bytes_ = 0;
  std::vector<std::byte> many_;
};

struct Wrapping {
  FewBytes before;               ///< Message header included.
  std::vector<std::byte> after;  ///< lbt: the info dictionary; else empty.
  /// Of the whole message. Above kdb::kMessageBytesMaxSmall it may only go to a client of
  /// capability 6; above kdb::kMessageBytesMax to nobody: then the header is wrong.
  std::uint64_t message_bytes = 0;
};

/// @param result_bytes  encoded size of the result object, without message header.
/// The first two allocate nothing, and neither does wrap_lbt().
[[nodiscard]] Wrapping wrap_sync(std::uint64_t result_bytes) noexcept;
[[nodiscard]] Wrapping wrap_aw(std::uint64_t result_bytes) noexcept;
/// (id; result; info). @param id  an encoded integer atom, or null_id(). @param info_dictionary
/// from info_object(); moved.
[[nodiscard]] Wrapping wrap_lbt(std::span<const std::byte> id,
                                std::vector<std::byte> info_dictionary,
                                std::uint64_t result_bytes) noexcept;
/// (id; result): what a link of another broker gets for large answers, and as a sign of life.
[[nodiscard]] Wrapping wrap_bare(std::span<const std::byte> id,
                                 std::uint64_t result_bytes) noexcept;
/// (callback; qid; query; result). @param callback, query  encoded objects.
[[nodiscard]] Wrapping wrap_np(std::span<const std::byte> callback, std::int64_t qid,
                               std::span<const std::byte> query, std::uint64_t result_bytes);

/// The answer to a flush, whole: the response `::`.
[[nodiscard]] std::span<const std::byte> flush_answer() noexcept;
/// 0Nj, for the answer to a message that has no id that could be told.
[[nodiscard]] std::span<const std::byte> null_id() noexcept;

/// When a request came, went to its servant and was answered, in nanoseconds since 2000.01.01, as
/// kdb+ timestamps have it.
struct Stamps {
  std::int64_t received = kdb::kNullLong;
  std::int64_t sent = kdb::kNullLong;  ///< Null: no servant got it.
  std::int64_t returned = kdb::kNullLong;
};

/// LBT's info dictionary: qsvr elapsed execution route backlog remaining, in this order and with
/// the types that the client library gives them.
/// @param servant_info  the servant's own dictionary, or empty. Its keys that are not among ours
/// are appended. Ignored when it is not a well-formed dictionary from symbols to a vector or list.
/// @param stamps  not null: received sent returned stand behind ours too, as timestamps.
/// @param status  for links of other brokers: the long mserve_status, an Errc, stands behind ours
///                too, which tells an error from a string that reads like one.
[[nodiscard]] std::vector<std::byte> info_object(const shm::InfoExt& info, std::string_view route,
                                                 std::span<const std::byte> servant_info,
                                                 const Stamps* stamps = nullptr,
                                                 std::optional<Errc> status = std::nullopt);

/// A kdb+ error. @param text  without quote; cut at its first NUL.
[[nodiscard]] std::vector<std::byte> error_object(std::string_view text);
/// The string "Error: TEXT", as lbt and np answer errors.
[[nodiscard]] std::vector<std::byte> error_text_object(std::string_view text);
/// The symbol `error, as aw answers errors. Static storage.
[[nodiscard]] std::span<const std::byte> error_symbol_object() noexcept;

/// The text of an error for the client: the servant's own for Errc::failed (`payload` is its error
/// object, a pair's first half), else the broker's words. At most kErrorTextBytesMax bytes.
inline constexpr std::size_t kErrorTextBytesMax = std::size_t{64} * 1024;
[[nodiscard]] std::string error_text(Errc status, std::span<const std::byte> payload);

/// Two objects that lie one behind the other (shm::kFlagPair).
struct Pair {
  std::span<const std::byte> first;
  std::span<const std::byte> second;
};
/// @return the two, or nothing when `payload` is not exactly two well-formed objects.
[[nodiscard]] std::optional<Pair> split_pair(std::span<const std::byte> payload) noexcept;

}  // namespace mserve::broker
