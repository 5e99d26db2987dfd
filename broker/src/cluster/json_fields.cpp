// SPDX-License-Identifier: Apache-2.0
#include "cluster/json_fields.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>

#include "mserve/shm/names.hpp"

namespace mserve::cluster {

namespace json = boost::json;

bool parse_object(std::string_view text, std::size_t bytes_max, json::value& out, bool any_bytes) {
  if (text.size() > bytes_max) {
    return false;
  }
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  options.allow_invalid_utf8 = any_bytes;
  json::error_code fault;
  out = json::parse(text, fault, {}, options);
  return !fault && out.is_object();
}

const json::object* object_at(const json::object& in, std::string_view key) {
  const json::value* const found = in.if_contains(key);
  return found != nullptr ? found->if_object() : nullptr;
}

const json::array* array_at(const json::object& in, std::string_view key) {
  const json::value* const found = in.if_contains(key);
  return found != nullptr ? found->if_array() : nullptr;
}

std::optional<std::string_view> text_at(const json::object& in, std::string_view key,
                                        std::size_t bytes_max) {
  const json::value* const found = in.if_contains(key);
  const json::string* const text = found != nullptr ? found->if_string() : nullptr;
  if (text == nullptr || text->size() > bytes_max) {
    return std::nullopt;
  }
  return std::string_view(text->data(), text->size());
}

std::optional<std::int64_t> count_at(const json::object& in, std::string_view key) {
  const json::value* const found = in.if_contains(key);
  if (found == nullptr) {
    return std::nullopt;
  }
  std::int64_t number = -1;
  if (const json::string* const text = found->if_string()) {
    const char* const end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, number);
    if (error != std::errc{} || rest != end) {
      return std::nullopt;
    }
  } else if (const std::int64_t* const whole = found->if_int64()) {
    number = *whole;
  }
  return number >= 0 ? std::optional(number) : std::nullopt;
}

std::optional<double> real_at(const json::object& in, std::string_view key) {
  const json::value* const found = in.if_contains(key);
  if (found == nullptr || !found->is_number()) {
    return std::nullopt;
  }
  const double number = found->is_double()  ? found->get_double()
                        : found->is_int64() ? static_cast<double>(found->get_int64())
                                            : static_cast<double>(found->get_uint64());
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

bool flag_at(const json::object& in, std::string_view key) {
  const json::value* const found = in.if_contains(key);
  return found != nullptr && found->is_bool() && found->get_bool();
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), shm::is_printable);
}

std::string shown(std::string_view text, std::size_t bytes_max) {
  std::string line(text.substr(0, bytes_max));
  for (char& c : line) {
    c = shm::is_printable(c) ? c : '?';
  }
  return line;
}

}  // namespace mserve::cluster
