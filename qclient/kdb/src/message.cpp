// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/message.hpp"

#include <algorithm>

#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/skip.hpp"
#include "walk.hpp"

namespace mserve::kdb {

namespace {

Result<Header> header_of_whole(std::span<const std::byte> message) noexcept {
  Result<Header> header = parse_header(message);
  if (header && header->message_bytes != message.size()) {
    return Error{Errc::bad_length, 4};
  }
  return header;
}

Error behind_header(Error error) noexcept {
  error.offset += kHeaderBytes;
  return error;
}

}  // namespace

Result<Header> parse_header(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeaderBytes) {
    return Error{Errc::truncated, bytes.size()};
  }
  constexpr unsigned kHighest[] = {1, 2, 2};  // byte order, kind, compression
  for (std::size_t i = 0; i < 3; ++i) {
    if (std::to_integer<unsigned>(bytes[i]) > kHighest[i]) {
      return Error{Errc::bad_header, i};
    }
  }
  Header header;
  header.order = static_cast<ByteOrder>(bytes[0]);
  header.kind = static_cast<MessageKind>(bytes[1]);
  header.compression = static_cast<Compression>(bytes[2]);
  header.message_bytes = (std::to_integer<std::uint64_t>(bytes[3]) << 32) |
                         detail::load(bytes.data() + 4, 4, header.order);
  if (header.message_bytes <= kHeaderBytes) {
    return Error{Errc::bad_length, 4};
  }
  return header;
}

std::array<std::byte, kHeaderBytes> write_header(const Header& header) noexcept {
  std::array<std::byte, kHeaderBytes> bytes{};
  bytes[0] = static_cast<std::byte>(header.order);
  bytes[1] = static_cast<std::byte>(header.kind);
  bytes[2] = static_cast<std::byte>(header.compression);
  bytes[3] = static_cast<std::byte>((header.message_bytes >> 32) & 0xff);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t at = header.order == ByteOrder::little ? 4 + i : 7 - i;
    bytes[at] = static_cast<std::byte>((header.message_bytes >> (8 * i)) & 0xff);
  }
  return bytes;
}

Result<Header> validate_message(std::span<const std::byte> message) noexcept {
  Result<Header> header = header_of_whole(message);
  if (!header || header->compression != Compression::none) {
    return header;
  }
  const Result<std::int8_t> type =
      validate(message.subspan(kHeaderBytes), kDepthMax, header->order);
  if (!type) {
    return behind_header(type.error());
  }
  return header;
}

Result<Message> decode_message(std::span<const std::byte> message, const MessageLimits& limits) {
  const Result<Header> header = header_of_whole(message);
  if (!header) {
    return header.error();
  }
  std::vector<std::byte> plain;
  std::span<const std::byte> whole = message;
  if (header->compression != Compression::none) {
    Result<std::vector<std::byte>> decompressed = decompress(message, limits.plain_bytes_max);
    if (!decompressed) {
      return decompressed.error();
    }
    plain = *std::move(decompressed);
    whole = plain;
  }
  Result<Value> value = decode(whole.subspan(kHeaderBytes), header->order, limits.object);
  if (!value) {
    return behind_header(value.error());
  }
  return Message{*header, *std::move(value)};
}

std::vector<std::byte> encode_message(const Value& value, MessageKind kind, ByteOrder order) {
  Header header;
  header.order = order;
  header.kind = kind;
  header.message_bytes = kHeaderBytes + encoded_size(value);
  const auto head = write_header(header);
  std::vector<std::byte> message(static_cast<std::size_t>(header.message_bytes));
  std::copy(head.begin(), head.end(), message.begin());
  const std::span<std::byte> object = std::span(message).subspan(kHeaderBytes);
  static_cast<void>(encode_to(value, object));  // sized to fit
  if (order == ByteOrder::big) {
    static_cast<void>(
        swap_byte_order(object, ByteOrder::little));  // our own encoding is well formed
  }
  return message;
}

}  // namespace mserve::kdb
