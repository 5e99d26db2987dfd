// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/invocation.hpp"

#include <utility>

#include "guard.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/print.hpp"

namespace mserve::servant {
namespace {

/// How much of what was not found is repeated to the client: enough to recognise it, too little to
/// flood a log.
constexpr std::size_t kUnknownTextBytesMax = 64;

kdb::Value unknown_command(const kdb::Value& what) {
  return kdb::Value::error("unknown command: " + kdb::text(what, kUnknownTextBytesMax));
}

/// For a query that does not start with a function's name: shows what stands in its place.
kdb::Value unknown_head(std::span<const std::byte> query) {
  const kdb::Result<kdb::Value> value = kdb::decode(query);
  if (!value) {
    return kdb::Value::error("badmsg");
  }
  const bool has_head =
      (value->is_list() || value->is_vector()) && !value->is_string() && value->count() > 0;
  return unknown_command(has_head ? value->at(0) : *value);
}

kdb::Value refusal(const kdb::CallError& why, std::span<const std::byte> query,
                   const IsListed& listed) {
  if (!why.name.empty() && !listed(why.name)) {
    return unknown_command(kdb::Value::symbol(why.name));
  }
  switch (why.error.code) {
    case kdb::Errc::nested_evaluation:
    case kdb::Errc::not_literal:
      return kdb::Value::error("nested evaluation");
    case kdb::Errc::not_a_call:
      return unknown_head(query);
    case kdb::Errc::unparsable:
      return kdb::Value::error("parse");
    case kdb::Errc::text_too_long:
    case kdb::Errc::too_deep:
    case kdb::Errc::too_large:
      return kdb::Value::error("limit");
    default:
      return kdb::Value::error("badmsg");
  }
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved into the table
bool Functions::add(std::string name, Function function) {
  if (!kdb::is_name(name) || !function) {
    return false;
  }
  return functions_.try_emplace(std::move(name), std::move(function)).second;
}

const Function* Functions::find(std::string_view name) const noexcept {
  const auto it = functions_.find(name);
  return it != functions_.end() ? &it->second : nullptr;
}

std::vector<std::string> Functions::names() const {
  std::vector<std::string> names;
  names.reserve(functions_.size());
  for (const auto& [name, function] : functions_) {
    names.push_back(name);
  }
  return names;
}

kdb::Result<kdb::Call, kdb::Value> admit(std::span<const std::byte> query, const IsListed& listed) {
  kdb::Result<kdb::Call, kdb::CallError> parsed = kdb::call_of(query);
  if (!parsed) {
    return refusal(parsed.error(), query, listed);
  }
  if (!listed(parsed->name)) {
    return unknown_command(kdb::Value::symbol(parsed->name));
  }
  return std::move(parsed).value();
}

kdb::Value call(const Function& function, std::span<const kdb::Value> arguments) {
  kdb::Value result;
  const std::string failure = guarded([&] { result = function(arguments); });
  if (!failure.empty()) {
    return kdb::Value::error(failure);
  }
  return result;
}

kdb::Value invoke(const Functions& functions, std::span<const std::byte> query) {
  const Function* function = nullptr;
  const kdb::Result<kdb::Call, kdb::Value> admitted = admit(query, [&](std::string_view name) {
    function = functions.find(name);
    return function != nullptr;
  });
  return admitted ? call(*function, admitted->arguments) : admitted.error();
}

}  // namespace mserve::servant
