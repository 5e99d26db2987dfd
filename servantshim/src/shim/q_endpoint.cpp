// SPDX-License-Identifier: Apache-2.0
#include "shim/q_endpoint.hpp"

#include <sys/un.h>

#include <algorithm>
#include <charconv>

namespace mserve::shim {

namespace {

bool is_port(std::string_view text) noexcept {
  unsigned number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && rest == text.data() + text.size() && number >= 1 &&
         number <= 65535;
}

bool all_digits(std::string_view text) noexcept {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<QEndpoint> parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = colon == std::string_view::npos ? "" : text.substr(0, colon);
  const std::string_view port = colon == std::string_view::npos ? text : text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
  }
  if (!is_port(port) || (!bracketed && host.find(':') != std::string_view::npos)) {
    return std::nullopt;
  }
  QEndpoint endpoint;
  endpoint.host = host.empty() ? "127.0.0.1" : std::string(host);
  endpoint.port = std::string(port);
  return endpoint;
}

std::optional<QEndpoint> parse_local_endpoint(std::string_view text, const char* uds_directory) {
  QEndpoint endpoint;
  endpoint.local = true;
  if (all_digits(text)) {
    const bool given = uds_directory != nullptr && *uds_directory != '\0';
    endpoint.path = std::string(given ? uds_directory : "/tmp") + "/kx." + std::string(text);
  } else {
    endpoint.path = std::string(text);
  }
  // One byte for the NUL in front of an abstract name, or behind a path.
  if (endpoint.path.empty() || endpoint.path.size() >= sizeof(sockaddr_un::sun_path)) {
    return std::nullopt;
  }
  return endpoint;
}

}  // namespace mserve::shim
