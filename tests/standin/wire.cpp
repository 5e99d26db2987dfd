// SPDX-License-Identifier: Apache-2.0
#include "standin/wire.hpp"

#include <algorithm>
#include <array>

#include "mserve/kdb/compress.hpp"

namespace mserve::test {
namespace {

constexpr std::uint8_t kCapabilityCompression = 1;
constexpr std::uint8_t kCapabilityLong = 5;  // messages above 2 GiB

}  // namespace

std::optional<Handshake> parse_handshake(std::span<const std::byte> bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), std::byte{0});
  if (end == bytes.end()) {
    return std::nullopt;
  }
  Handshake handshake;
  for (auto it = bytes.begin(); it != end; ++it) {
    handshake.credentials += static_cast<char>(*it);
  }
  handshake.bytes = handshake.credentials.size() + 1;
  if (!handshake.credentials.empty()) {
    const auto last = static_cast<std::uint8_t>(handshake.credentials.back());
    if (last < 0x20) {
      handshake.capability = last;
      handshake.credentials.pop_back();
    }
  }
  return handshake;
}

std::string user_of(const std::string& credentials) {
  return credentials.substr(0, credentials.find(':'));
}

std::vector<std::byte> compress_always(std::span<const std::byte> message) {
  if (auto compressed = kdb::compress(message)) {
    return *std::move(compressed);
  }
  kdb::Header header = *kdb::parse_header(message);
  const std::span<const std::byte> object = message.subspan(kdb::kHeaderBytes);
  std::vector<std::byte> literals;
  for (std::size_t at = 0; at < object.size(); at += 8) {
    const auto group = object.subspan(at, std::min<std::size_t>(8, object.size() - at));
    literals.push_back(std::byte{0});
    literals.insert(literals.end(), group.begin(), group.end());
  }
  header.compression = kdb::Compression::compressed;
  header.message_bytes = kdb::kHeaderBytes + 4 + literals.size();
  const auto head = kdb::write_header(header);
  std::vector<std::byte> compressed(head.begin(), head.end());
  // The plain length, in the message's byte order: the last four bytes of its own header.
  compressed.insert(compressed.end(), message.begin() + 4, message.begin() + 8);
  compressed.insert(compressed.end(), literals.begin(), literals.end());
  return compressed;
}

std::vector<std::byte> encode_reply(const kdb::Value& value, kdb::MessageKind kind, Reply reply,
                                    std::uint8_t capability) {
  const auto order = reply == Reply::big_endian ? kdb::ByteOrder::big : kdb::ByteOrder::little;
  if (capability < kCapabilityLong &&
      kdb::kHeaderBytes + kdb::encoded_size(value) > kdb::kMessageBytesMaxSmall) {
    return kdb::encode_message(kdb::Value::error("limit"), kind, order);
  }
  std::vector<std::byte> message = kdb::encode_message(value, kind, order);
  return reply == Reply::compressed && capability >= kCapabilityCompression
             ? compress_always(message)
             : message;
}

}  // namespace mserve::test
