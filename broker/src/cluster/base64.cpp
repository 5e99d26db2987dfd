// SPDX-License-Identifier: Apache-2.0
#include "cluster/base64.hpp"

#include <array>
#include <cstdint>

namespace mserve::cluster {

namespace {

constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNone);
  for (std::size_t i = 0; i < kBase64Digits.size(); ++i) {
    values[static_cast<std::uint8_t>(kBase64Digits[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr std::array<std::uint8_t, 256> kValues = make_values();

std::uint32_t byte_at(std::string_view bytes, std::size_t at) {
  return at < bytes.size() ? static_cast<std::uint8_t>(bytes[at]) : 0U;
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::uint32_t group =
        byte_at(bytes, at) << 16 | byte_at(bytes, at + 1) << 8 | byte_at(bytes, at + 2);
    for (std::size_t digit = 0; digit < 4; ++digit) {
      const bool there = digit == 0 || at + digit - 1 < bytes.size();
      text += there ? kBase64Digits[(group >> (18 - 6 * digit)) & 63] : '=';
    }
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text, std::size_t bytes_max) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
    ++padding;
  }
  const std::size_t count = text.size() / 4 * 3 - padding;
  if (count > bytes_max) {
    return std::nullopt;
  }
  std::string bytes;
  bytes.reserve(count + 2);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    for (std::size_t digit = 0; digit < 4; ++digit) {
      const bool padded = at + digit >= text.size() - padding;
      const std::uint8_t value = padded ? 0 : kValues[static_cast<std::uint8_t>(text[at + digit])];
      if (value == kNone) {
        return std::nullopt;
      }
      group = group << 6 | value;
    }
    bytes += static_cast<char>(group >> 16 & 0xff);
    bytes += static_cast<char>(group >> 8 & 0xff);
    bytes += static_cast<char>(group & 0xff);
  }
  for (std::size_t at = count; at < bytes.size(); ++at) {
    if (bytes[at] != '\0') {  // two texts would stand for the same bytes
      return std::nullopt;
    }
  }
  bytes.resize(count);
  return bytes;
}

}  // namespace mserve::cluster
