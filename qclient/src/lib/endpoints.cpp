// SPDX-License-Identifier: Apache-2.0
#include "lib/endpoints.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "mserve/shm/directory.hpp"

namespace mserve {
namespace {

constexpr std::string_view kTcp = "tcp://";

/// Longest user and password together: a gateway refuses a longer opening.
constexpr std::size_t kCredentialBytesMax = 2000;

int hex_digit(char c) noexcept {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/// Text with its %XX replaced; nothing when one of them is broken.
std::optional<std::string> unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    plain += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return plain;
}

bool name_host(std::string_view host) noexcept {
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

bool bracket_host(std::string_view host) noexcept {
  return !host.empty() && host.size() <= 64 && std::all_of(host.begin(), host.end(), [](char c) {
    return hex_digit(c) >= 0 || c == ':' || c == '.' || c == '%' || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
  });
}

/// `host:port` or `[address]:port`.
bool parse_host_and_port(std::string_view text, TcpEndpoint& out) {
  std::size_t host_end = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t closing = text.find(']');
    if (closing == std::string_view::npos || closing + 1 != host_end ||
        !bracket_host(text.substr(1, closing - 1))) {
      return false;
    }
    out.host = text.substr(1, closing - 1);
  } else {
    if (host_end == std::string_view::npos || !name_host(text.substr(0, host_end))) {
      return false;
    }
    out.host = text.substr(0, host_end);
  }
  const std::string_view port = text.substr(host_end + 1);
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  out.text = std::string(kTcp).append(text);
  return code == std::errc() && end == port.data() + port.size() && out.port != 0;
}

/// `user`, `user:password`, with %XX.
std::string_view parse_credentials(std::string_view text, TcpEndpoint& out) {
  const std::size_t colon = text.find(':');
  const auto user = unescaped(text.substr(0, colon));
  const auto password =
      unescaped(colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1));
  if (!user || !password) {
    return "a % in user or password is followed by two hexadecimal digits";
  }
  out.user = *user;
  out.password = *password;
  out.has_user = true;
  return fault_of_credentials(out.user, out.password);
}

/// One element of the list behind `tcp://`. @return what is wrong, without naming a password.
std::string parse_endpoint(std::string_view element, std::vector<TcpEndpoint>& out) {
  TcpEndpoint endpoint;
  if (!out.empty()) {
    endpoint.user = out.back().user;
    endpoint.password = out.back().password;
    endpoint.has_user = out.back().has_user;
  }
  const std::size_t at = element.rfind('@');
  if (at != std::string_view::npos) {
    if (const auto fault = parse_credentials(element.substr(0, at), endpoint); !fault.empty()) {
      return "broker: " + std::string(fault) + ".";
    }
    element.remove_prefix(at + 1);
  }
  if (!parse_host_and_port(element, endpoint)) {
    return "broker: a TCP endpoint is host:port or [IPv6 address]:port, with a port of 1 to "
           "65535.";
  }
  if (out.size() == kEndpointsMax) {
    return "broker: at most 16 TCP endpoints.";
  }
  out.push_back(std::move(endpoint));
  return {};
}

}  // namespace

std::string_view fault_of_credentials(std::string_view user, std::string_view password) noexcept {
  if (user.find(':') != std::string_view::npos) {
    return "a user holds no colon";
  }
  if (user.find('\0') != std::string_view::npos || password.find('\0') != std::string_view::npos) {
    return "user and password hold no zero byte";
  }
  if (user.size() + password.size() > kCredentialBytesMax) {
    return "user and password have at most 2000 bytes together";
  }
  return {};
}

std::string parse_endpoints(std::string_view text, Endpoints& out) {
  out = {};
  for (bool first = true;; first = false) {
    const std::size_t comma = text.find(',');
    std::string_view element = text.substr(0, comma);
    const bool tcp = element.starts_with(kTcp);
    if (tcp || !out.remote.empty()) {
      element.remove_prefix(tcp ? kTcp.size() : 0);
      if (std::string fault = parse_endpoint(element, out.remote); !fault.empty()) {
        return fault;
      }
    } else if (first && shm::valid_broker_name(element)) {
      out.local = element;
    } else {
      return "broker: NAME, tcp://host:port[,host:port...], or NAME,tcp://...; a name is 1 to 64 "
             "characters of A-Z a-z 0-9 . _ - that do not start with a dot.";
    }
    if (comma == std::string_view::npos) {
      return {};
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace mserve
