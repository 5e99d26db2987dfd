// SPDX-License-Identifier: Apache-2.0
#include "plugin/route_plugin.hpp"

#include <array>
#include <optional>

namespace mserve::broker {

namespace {

static_assert(MSERVE_ROUTE_BYTES_MAX == kdb::kRouteTextBytesMax, "the text is the whole route");

mserve_text told(std::string_view text) noexcept {
  return {text.empty() ? "" : text.data(), text.size()};
}

}  // namespace

PluginRoute route_of(const mserve_route_table& plugin, std::span<const std::byte> query,
                     std::string_view user) {
  const std::optional<kdb::CallTexts> texts = kdb::call_texts(query, MSERVE_CALL_ARGUMENTS_MAX);
  if (!texts) {
    return {};
  }
  std::array<mserve_text, MSERVE_CALL_ARGUMENTS_MAX> arguments{};
  std::uint32_t count = 0;
  for (const std::string& argument : texts->arguments) {
    arguments[count++] = told(argument);
  }
  const mserve_call call{sizeof(mserve_call), count, told(texts->function), arguments.data(),
                         told(user)};
  std::array<char, MSERVE_ROUTE_BYTES_MAX> bytes{};
  const std::uint32_t size = plugin.route(&call, bytes.data(), MSERVE_ROUTE_BYTES_MAX);
  if (size > bytes.size()) {
    return {.route = {}, .fault = true};
  }
  const std::string_view text(bytes.data(), size);
  // It is shown as a symbol, which ends at a zero byte.
  if (text.find('\0') != std::string_view::npos) {
    return {.route = {}, .fault = true};
  }
  return {.route = kdb::route_of_text(text), .fault = false};
}

}  // namespace mserve::broker
