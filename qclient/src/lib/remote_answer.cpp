// SPDX-License-Identifier: Apache-2.0
#include "lib/remote_answer.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve {
namespace {

constexpr std::int8_t kErrorType = -128;
constexpr std::int8_t kSymbolAtom = -11;
constexpr std::int8_t kLongAtomType = -7;
constexpr std::string_view kErrorPrefix = "Error: ";

bool is_dictionary(std::int8_t type) noexcept {
  return type == static_cast<std::int8_t>(kdb::Type::dict) ||
         type == static_cast<std::int8_t>(kdb::Type::sorted_dict);
}

std::string_view chars_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The text of a validated char vector behind "Error: ", up to its first zero byte; nothing for any
/// other object.
std::optional<std::string_view> error_text_of(std::span<const std::byte> object) noexcept {
  if (object[0] != static_cast<std::byte>(kdb::Type::character)) {
    return std::nullopt;
  }
  const bool long_count = (object[1] & std::byte{0x80}) != std::byte{0};
  std::string_view text = chars_of(object.subspan(long_count ? 10 : 6));
  if (!text.starts_with(kErrorPrefix)) {
    return std::nullopt;
  }
  text.remove_prefix(kErrorPrefix.size());
  return text.substr(0, text.find('\0'));
}

/// The status that the broker says with these words.
Errc status_of_text(std::string_view text) noexcept {
  if (text == "limit") {
    return Errc::too_large;  // what kdb+ calls it
  }
  // Every code whose text this library knows, so that none is forgotten here when one is added.
  constexpr std::uint16_t kLast = 127;
  const std::string_view unknown = to_string(static_cast<Errc>(UINT16_MAX));
  for (std::uint16_t number = 1; number <= kLast && text != unknown; ++number) {
    const auto code = static_cast<Errc>(number);
    if (text == to_string(code)) {
      return code;
    }
  }
  return Errc::failed;
}

std::uint64_t ns_of(const kdb::Element& milliseconds) noexcept {
  std::int64_t ms = 0;
  if (milliseconds.type != kLongAtomType) {
    return 0;
  }
  std::memcpy(&ms, milliseconds.bytes.data() + 1, sizeof(ms));
  constexpr std::int64_t kNsPerMs = 1'000'000;
  return static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(ms, 0, std::numeric_limits<std::int64_t>::max() / kNsPerMs) *
      kNsPerMs);
}

std::uint32_t count_of(const kdb::Element& number) noexcept {
  std::int64_t value = 0;
  if (number.type == kLongAtomType) {
    std::memcpy(&value, number.bytes.data() + 1, sizeof(value));
  }
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(value, 0, UINT32_MAX));
}

void put_figure(std::string_view key, const kdb::Element& value, shm::InfoExt& out) noexcept {
  if (key == "qsvr" && value.type == kSymbolAtom) {
    const std::string_view name = chars_of(value.bytes.subspan(1, value.bytes.size() - 2));
    std::memcpy(out.servant, name.data(), std::min(name.size(), sizeof(out.servant) - 1));
  } else if (key == "elapsed") {
    out.elapsed_ns = ns_of(value);
  } else if (key == "execution") {
    out.execution_ns = ns_of(value);
  } else if (key == "backlog") {
    out.backlog = count_of(value);
  } else if (key == "remaining") {
    out.remaining = count_of(value);
  }
}

/// The figures in a validated info dictionary; nothing when it is not of LBT's form.
std::optional<shm::InfoExt> figures_of(std::span<const std::byte> dictionary) noexcept {
  const auto keys_bytes = kdb::skip(dictionary.subspan(1));
  auto keys = kdb::ListReader::open(dictionary.subspan(1));
  if (!keys_bytes || !keys || dictionary[1] != static_cast<std::byte>(kdb::Type::symbol)) {
    return std::nullopt;
  }
  const auto values_object = dictionary.subspan(1 + *keys_bytes);
  auto values = kdb::ListReader::open(values_object);
  if (!values || values_object[0] != std::byte{0}) {
    return std::nullopt;
  }
  shm::InfoExt figures;
  bool known = false;
  while (const auto key = keys->next()) {
    const auto value = values->next();
    if (!value) {
      return std::nullopt;
    }
    const std::string_view name = chars_of(key->bytes.first(key->bytes.size() - 1));
    known = known || (name == "qsvr" && value->type == kSymbolAtom);
    put_figure(name, *value, figures);
  }
  return known ? std::optional(figures) : std::nullopt;
}

}  // namespace

std::optional<ObjectPair> split_pair(std::span<const std::byte> bytes) noexcept {
  const auto first = kdb::skip(bytes, kdb::kDepthMax);
  if (!first || *first >= bytes.size()) {
    return std::nullopt;
  }
  const ObjectPair pair{bytes.first(*first), bytes.subspan(*first)};
  const auto type = kdb::validate(pair.info);
  if (!type || !is_dictionary(*type)) {
    return std::nullopt;
  }
  return pair;
}

RemoteAnswer read_remote_answer(std::span<const std::byte> bytes, bool has_info) noexcept {
  RemoteAnswer answer;
  if (has_info) {
    const auto pair = split_pair(bytes);
    answer.status = pair ? Errc::ok : Errc::protocol;
    answer.result = pair ? pair->result : std::span<const std::byte>();
    answer.info = pair ? pair->info : std::span<const std::byte>();
  } else {
    answer.status = kdb::validate(bytes) ? Errc::ok : Errc::protocol;
    answer.result = bytes;
  }
  if (answer.status != Errc::ok || static_cast<std::int8_t>(answer.result[0]) == kErrorType) {
    answer.status = Errc::protocol;  // an error object inside a list is none either
    answer.result = {};
    answer.info = {};
    return answer;
  }
  if (has_info) {
    answer.figures = figures_of(answer.info);
  }
  if (const auto text = error_text_of(answer.result)) {
    const bool no_servant = answer.figures && answer.figures->servant[0] == '\0';
    answer.status = no_servant ? status_of_text(*text) : Errc::failed;
    answer.error_text = *text;
    answer.result = {};
  }
  return answer;
}

const char* fault_of_remote_request(std::span<const std::byte> payload, bool opaque,
                                    bool pair) noexcept {
  if (opaque) {
    return "opaque payload, which does not travel over TCP";
  }
  // The list around it is a level too.
  const auto query = kdb::skip(payload, kdb::kDepthMax - 1);
  if (!query || static_cast<std::int8_t>(payload[0]) == kErrorType) {
    return "payload is no kdb+ object";
  }
  const auto rest = payload.subspan(*query);
  if (!pair) {
    return rest.empty() ? nullptr : "payload is more than one kdb+ object";
  }
  const auto options = kdb::validate(rest, kdb::kDepthMax - 1);
  return options && is_dictionary(*options) ? nullptr : "payload is no query with a dictionary";
}

}  // namespace mserve
