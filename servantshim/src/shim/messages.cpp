// SPDX-License-Identifier: Apache-2.0
#include "shim/messages.hpp"

#include <algorithm>
#include <charconv>

#include "shim/type_codes.hpp"

namespace mserve::shim {

namespace {

constexpr std::size_t kErrorTextMax = 100;
constexpr std::string_view kNyi = "nyi";

/// Type, attribute and a count of zero.
constexpr std::size_t kEmptyVectorBytes = 6;
constexpr std::size_t kNoOptionsBytes = 1 + 2 * kEmptyVectorBytes;

constexpr std::array<std::byte, kNoOptionsBytes> make_no_options() {
  std::array<std::byte, kNoOptionsBytes> bytes{};  // two empty general lists, all zeros
  bytes[0] = kDictionaryByte;
  return bytes;
}
constexpr std::array<std::byte, kNoOptionsBytes> kNoOptions = make_no_options();

void put_text(OwnBytes& to, std::string_view text) noexcept {
  to.put(kCharVectorByte);
  to.put(std::uint8_t{0});  // no attribute
  to.put_number(text.size(), 4);
  to.put(std::as_bytes(std::span(text)));
}

void put_plain_query(OwnBytes& to, std::string_view query) noexcept {
  put_header(to, kdb::MessageKind::sync, kEmptyVectorBytes + query.size());
  put_text(to, query);
}

void put_lbt_query(OwnBytes& to, std::string_view query) noexcept {
  put_header(to, kdb::MessageKind::async,
             kLbtPrefixBytes + kEmptyVectorBytes + query.size() + kNoOptionsBytes);
  put_lbt_prefix(to, 3, 0);
  put_text(to, query);
  to.put(no_options());
}

}  // namespace

std::span<const std::byte> no_options() noexcept {
  return kNoOptions;
}

void put_header(OwnBytes& to, kdb::MessageKind kind, std::uint64_t body_bytes) noexcept {
  kdb::Header header;
  header.kind = kind;
  header.message_bytes = kdb::kHeaderBytes + body_bytes;
  to.put(kdb::write_header(header));
}

void put_lbt_prefix(OwnBytes& to, std::uint32_t items, std::uint64_t qid) noexcept {
  to.put(kListByte);
  to.put(std::uint8_t{0});  // no attribute
  to.put_number(items, 4);
  to.put(kLongAtomByte);
  to.put_number(qid, 8);
}

void put_plain_probe(OwnBytes& to) noexcept {
  put_plain_query(to, "");
}

void put_lbt_probe(OwnBytes& to) noexcept {
  put_lbt_query(to, "");
}

void put_cancel(OwnBytes& to, std::uint64_t qid) noexcept {
  constexpr std::string_view kCall = ".mserve.cancel ";
  std::array<char, kCall.size() + 20> text{};  // the longest number
  char* const digits = std::copy(kCall.begin(), kCall.end(), text.data());
  const char* const end = std::to_chars(digits, text.data() + text.size(), qid).ptr;
  put_lbt_query(to, {text.data(), static_cast<std::size_t>(end - text.data())});
}

void put_process_question(OwnBytes& to, Form form) noexcept {
  constexpr std::string_view kProcess = ".z.i";
  if (form == Form::lbt) {
    put_lbt_query(to, kProcess);
    put_plain_probe(to);
  } else {
    put_plain_query(to, kProcess);
  }
}

void put_error(OwnBytes& to, std::string_view text) noexcept {
  to.put(kErrorByte);
  to.put(std::as_bytes(std::span(text.substr(0, kErrorTextMax))));
  to.put(std::uint8_t{0});
}

void put_nyi_response(OwnBytes& to) noexcept {
  put_header(to, kdb::MessageKind::response, kNyi.size() + 2);
  put_error(to, kNyi);
}

}  // namespace mserve::shim
