// SPDX-License-Identifier: Apache-2.0
// Any bytes as an object in both byte orders and as a message: one verdict from skipping and
// decoding, and what is accepted survives a round trip and can be shown. The first input byte
// chooses.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"

namespace {

using namespace mserve::kdb;
using Bytes = std::vector<std::byte>;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void fuzz_object(std::span<const std::byte> bytes, ByteOrder order) {
  const Result<Value> value = decode(bytes, order);
  require(value.ok() == validate(bytes, kDepthMax, order).ok());
  for (const char* const rule : {"arg:1", "fn+arg:2", "option:a"}) {
    static_cast<void>(route_of(bytes, *parse_rule(rule), {.options = bytes}));
  }
  static_cast<void>(call_texts(bytes, 8));
  if (!value) {
    return;
  }
  const Bytes again = encode(*value, order);
  require(again.size() <= bytes.size() && again.size() == encoded_size(*value));
  const Result<Value> back = decode(again, order);
  require(back.ok() && *back == *value && back->depth() == value->depth());
  static_cast<void>(show(*value, {10, 40, 7}));
  static_cast<void>(to_json(*value));
  static_cast<void>(text(*value, 1000));
  static_cast<void>(call_of(*value));
}

void fuzz_message(std::span<const std::byte> bytes) {
  MessageLimits limits;
  limits.plain_bytes_max = 1 << 16;
  static_cast<void>(validate_message(bytes));
  static_cast<void>(decode_message(bytes, limits));
  const Result<Bytes> plain = decompress(bytes, limits.plain_bytes_max);
  if (plain) {
    const auto packed = compress(*plain);
    if (packed) {
      const Result<Bytes> back = decompress(*packed, limits.plain_bytes_max);
      require(back.ok() && *back == *plain);
    }
  }
}

/// The input as the object of a message of maximal compressibility: what q would compress comes
/// back the same.
void fuzz_compression(std::span<const std::byte> bytes) {
  Bytes message(kHeaderBytes);
  while (!bytes.empty() && message.size() < 4000) {
    message.insert(message.end(), bytes.begin(), bytes.end());
  }
  const auto header =
      write_header({ByteOrder::little, MessageKind::async, Compression::none, message.size()});
  std::copy(header.begin(), header.end(), message.begin());
  const auto packed = compress(message);
  if (packed) {
    const Result<Bytes> back = decompress(*packed, message.size());
    require(back.ok() && *back == message);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 4) {
    case 0:
      fuzz_object(bytes, ByteOrder::little);
      break;
    case 1:
      fuzz_object(bytes, ByteOrder::big);
      break;
    case 2:
      fuzz_message(bytes);
      break;
    default:
      fuzz_compression(bytes);
  }
  return 0;
}
