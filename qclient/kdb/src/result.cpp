// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/result.hpp"

namespace mserve::kdb {

namespace {

struct Entry {
  Errc code;
  std::string_view name;
  std::string_view phrase;
};

constexpr Entry kEntries[] = {
    {Errc::ok, "ok", "no error"},
    {Errc::truncated, "truncated", "ends in the middle of an item"},
    {Errc::trailing_bytes, "trailing_bytes", "bytes are left over after the object"},
    {Errc::bad_type, "bad_type", "no such type on the wire"},
    {Errc::bad_count, "bad_count", "a count is negative or runs past the data"},
    {Errc::bad_shape, "bad_shape", "dictionary or table whose parts do not fit together"},
    {Errc::too_deep, "too_deep", "nested too deep"},
    {Errc::nested_error, "nested_error", "an error inside another object"},
    {Errc::too_large, "too_large", "longer than the limit"},
    {Errc::bad_header, "bad_header", "byte order, kind or compression out of range"},
    {Errc::bad_length, "bad_length", "the header's length does not match"},
    {Errc::bad_compression, "bad_compression", "damaged compressed data"},
    {Errc::unparsable, "unparsable", "not a q literal or call"},
    {Errc::not_literal, "not_literal", "only literals are allowed here"},
    {Errc::nested_evaluation, "nested_evaluation", "nested evaluation"},
    {Errc::not_a_call, "not_a_call", "does not start with the name of a function"},
    {Errc::text_too_long, "text_too_long", "query text above the limit"},
    {Errc::bad_rule, "bad_rule", "not one of arg:N|fn|fn+arg:N|user|const|option:KEY"},
};

const Entry* find(Errc code) noexcept {
  for (const Entry& entry : kEntries) {
    if (entry.code == code) {
      return &entry;
    }
  }
  return nullptr;
}

}  // namespace

std::string_view name_of(Errc code) noexcept {
  const Entry* entry = find(code);
  return entry != nullptr ? entry->name : "unknown";
}

std::string_view describe(Errc code) noexcept {
  const Entry* entry = find(code);
  return entry != nullptr ? entry->phrase : "unknown error";
}

std::string to_text(const Error& error) {
  std::string text(name_of(error.code));
  text += " at ";
  text += std::to_string(error.offset);
  text += ": ";
  text += describe(error.code);
  return text;
}

}  // namespace mserve::kdb
