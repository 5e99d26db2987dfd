// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/invocation.hpp"

#include <utility>

#include "guard.hpp"

namespace mserve::servant {

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
  return kdb::admit(query, listed);
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
