// SPDX-License-Identifier: Apache-2.0
#include "gateway/answer.hpp"

#include <algorithm>
#include <utility>

#include "gateway/object_writer.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::broker {

namespace {

using Bytes = std::span<const std::byte>;

/// Sizes `wrapping` for `inside` bytes between header and result and writes the header.
/// @return what writes those bytes, into `wrapping`, which must stay where it is until then.
ObjectWriter begin(Wrapping& wrapping, kdb::MessageKind kind, std::size_t inside,
                   std::uint64_t result_bytes) {
  wrapping.message_bytes = kdb::kHeaderBytes + inside + result_bytes + wrapping.after.size();
  ObjectWriter writer(wrapping.before.resize(kdb::kHeaderBytes + inside));
  writer.bytes(kdb::write_header(
      {kdb::ByteOrder::little, kind, kdb::Compression::none, wrapping.message_bytes}));
  return writer;
}

}  // namespace

std::span<std::byte> FewBytes::resize(std::size_t bytes) {
  if (bytes <= kInlineBytes) {
    many_.clear();
    few_bytes_ = static_cast<std::uint8_t>(bytes);
    return std::span(few_).first(bytes);
  }
  many_.resize(bytes);
  return many_;
}

Wrapping wrap_sync(std::uint64_t result_bytes) noexcept {
  Wrapping wrapping;
  begin(wrapping, kdb::MessageKind::response, 0, result_bytes);
  return wrapping;
}

Wrapping wrap_aw(std::uint64_t result_bytes) noexcept {
  Wrapping wrapping;
  begin(wrapping, kdb::MessageKind::async, 0, result_bytes);
  return wrapping;
}

Wrapping wrap_lbt(Bytes id, std::vector<std::byte> info_dictionary,
                  std::uint64_t result_bytes) noexcept {
  Wrapping wrapping;
  wrapping.after = std::move(info_dictionary);
  ObjectWriter writer =
      begin(wrapping, kdb::MessageKind::async, kListHeadBytes + id.size(), result_bytes);
  writer.vector_head(kList, 3);
  writer.bytes(id);
  return wrapping;
}

Wrapping wrap_bare(Bytes id, std::uint64_t result_bytes) noexcept {
  Wrapping wrapping;
  ObjectWriter writer =
      begin(wrapping, kdb::MessageKind::async, kListHeadBytes + id.size(), result_bytes);
  writer.vector_head(kList, 2);
  writer.bytes(id);
  return wrapping;
}

Wrapping wrap_np(Bytes callback, std::int64_t qid, Bytes query, std::uint64_t result_bytes) {
  Wrapping wrapping;
  const std::size_t inside = kListHeadBytes + callback.size() + kLongAtomBytes + query.size();
  ObjectWriter writer = begin(wrapping, kdb::MessageKind::async, inside, result_bytes);
  writer.vector_head(kList, 4);
  writer.bytes(callback);
  writer.long_atom(qid);
  writer.bytes(query);
  return wrapping;
}

Bytes flush_answer() noexcept {
  static constexpr std::array<std::byte, 10> kAnswer = {
      std::byte{1}, std::byte{2}, std::byte{0}, std::byte{0},    std::byte{10},
      std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0x65}, std::byte{0}};
  return kAnswer;
}

Bytes null_id() noexcept {
  static constexpr std::array<std::byte, kLongAtomBytes> kNull = {
      kLongAtom,    std::byte{0}, std::byte{0}, std::byte{0},   std::byte{0},
      std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0x80}};
  return kNull;
}

std::vector<std::byte> error_object(std::string_view text) {
  text = until_nul(text);
  std::vector<std::byte> object(1 + text.size() + 1);
  ObjectWriter writer(object);
  writer.byte(kError);
  writer.symbol(text);
  return object;
}

std::vector<std::byte> error_text_object(std::string_view text) {
  constexpr std::string_view kErrorPrefix = "Error: ";
  std::vector<std::byte> object(kListHeadBytes + kErrorPrefix.size() + text.size());
  ObjectWriter writer(object);
  writer.vector_head(kChars, static_cast<std::uint32_t>(kErrorPrefix.size() + text.size()));
  writer.text(kErrorPrefix);
  writer.text(text);
  return object;
}

Bytes error_symbol_object() noexcept {
  static constexpr std::array<std::byte, 7> kObject = {
      kSymbolAtom,    std::byte{'e'}, std::byte{'r'}, std::byte{'r'},
      std::byte{'o'}, std::byte{'r'}, std::byte{0}};
  return kObject;
}

std::string error_text(Errc status, Bytes payload) {
  if (status != Errc::failed) {
    return to_string(status);
  }
  if (payload.empty() || payload.front() != kError) {
    return to_string(Errc::protocol);
  }
  const Bytes text = payload.subspan(1, std::min(payload.size() - 1, kErrorTextBytesMax));
  return std::string(until_nul({reinterpret_cast<const char*>(text.data()), text.size()}));
}

std::optional<Pair> split_pair(Bytes payload) noexcept {
  const auto first_bytes = kdb::skip(payload);
  if (!first_bytes || !kdb::validate(payload.subspan(*first_bytes))) {
    return std::nullopt;
  }
  return Pair{payload.first(*first_bytes), payload.subspan(*first_bytes)};
}

}  // namespace mserve::broker
