// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_call.hpp"

#include <array>
#include <utility>

#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kPrefix = ".mserve.";
/// Longer ones are no calls of ours: a name and a number take a few dozen bytes.
constexpr std::size_t kQueryBytesMax = 1024;

struct Named {
  std::string_view text;
  AdminCall::Name name;
};
constexpr std::array<Named, 6> kCallNames = {{
    {".mserve.servants", AdminCall::Name::servants},
    {".mserve.clients", AdminCall::Name::clients},
    {".mserve.queries", AdminCall::Name::queries},
    {".mserve.stats", AdminCall::Name::stats},
    {".mserve.beat", AdminCall::Name::beat},
    {".mserve.cancel", AdminCall::Name::cancel},
}};

std::optional<AdminCall> call_named(std::string_view text) {
  for (const Named& named : kCallNames) {
    if (named.text == text) {
      AdminCall call;
      call.name = named.name;
      return call;
    }
  }
  return std::nullopt;
}

/// The object's own type, and where its items or its text start.
std::size_t content_offset(std::span<const std::byte> object) noexcept {
  const auto type = static_cast<std::int8_t>(object.front());
  if (type < 0) {
    return 1;
  }
  const bool wide = object.size() > 1 && (std::to_integer<unsigned>(object[1]) & 0x80U) != 0;
  return wide ? 10 : 6;
}

bool starts_with_prefix(std::span<const std::byte> object, bool after_blanks) noexcept {
  const std::size_t offset = content_offset(object);
  if (object.size() < offset) {
    return false;
  }
  const auto content = object.subspan(offset);
  std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  if (after_blanks) {
    const std::size_t first = text.substr(0, kQueryBytesMax).find_first_not_of(" \t\r\n");
    text.remove_prefix(first == std::string_view::npos ? text.size() : first);
  }
  return text.starts_with(kPrefix);
}

std::string_view set_arguments(AdminCall& call, std::span<const kdb::Value> arguments) {
  const bool of_link = call.name == AdminCall::Name::beat || call.name == AdminCall::Name::cancel;
  if (arguments.empty() || (arguments.size() == 1 && arguments.front().is_null())) {
    return of_link ? "rank" : "";
  }
  if (arguments.size() > 1 || (!of_link && call.name != AdminCall::Name::queries)) {
    return "rank";
  }
  const kdb::Value& count = arguments.front();
  const std::int8_t type = count.type_code();
  if (type > -static_cast<int>(kdb::Type::byte) || type < -static_cast<int>(kdb::Type::long_int)) {
    return "type";
  }
  call.argument = count.integer();
  return *call.argument < 0 ? "domain" : "";  // nulls are the smallest numbers
}

}  // namespace

bool may_be_admin_call(std::span<const std::byte> query) noexcept {
  if (query.empty()) {
    return false;
  }
  const auto type = static_cast<std::int8_t>(query.front());
  const auto symbol = static_cast<std::int8_t>(kdb::Type::symbol);
  const auto text = static_cast<std::int8_t>(kdb::Type::character);
  if (type == text || type == symbol || type == -symbol) {
    return starts_with_prefix(query, type == text);
  }
  const std::size_t offset = content_offset(query);
  if (type != 0 || query.size() <= offset) {
    return false;
  }
  const auto first = query.subspan(offset);
  const auto first_type = static_cast<std::int8_t>(first.front());
  return (first_type == text || first_type == -symbol) && starts_with_prefix(first, false);
}

std::optional<AdminCall> parse_admin_call(std::span<const std::byte> query) {
  if (!may_be_admin_call(query) || query.size() > kQueryBytesMax) {
    return std::nullopt;
  }
  const auto parsed = kdb::call_of(query);
  std::optional<AdminCall> call = call_named(parsed ? parsed->name : parsed.error().name);
  if (call) {
    call->fault = parsed ? set_arguments(*call, parsed->arguments)
                         : std::string_view("literal arguments only");
  }
  return call;
}

}  // namespace mserve::broker
