// SPDX-License-Identifier: Apache-2.0
#include "gateway/opening.hpp"

#include <algorithm>
#include <array>

namespace mserve::broker {

namespace {

/// Below this, the byte before the NUL is a capability: no credentials end in a control character.
constexpr unsigned char kCapabilityEnd = 0x20;
constexpr std::array<std::string_view, 9> kMethods = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"};
/// The first two bytes of a TLS record with a handshake.
constexpr std::string_view kTls("\x16\x03", 2);

Opening refused(std::string_view reason) {
  Opening opening;
  opening.kind = Opening::Kind::refused;
  opening.reason = reason;
  return opening;
}

/// More is needed; when no more can come, that is the end.
Opening more(std::string_view text, bool ended) {
  if (ended) {
    return refused(text.empty() ? "closed without a word" : "ended within the handshake");
  }
  return text.size() < kOpeningBytesMax ? Opening() : refused("handshake too long");
}

void set_credentials(Opening& opening, std::string_view credentials) {
  const std::size_t colon = credentials.find(':');
  opening.user = credentials.substr(0, colon);
  if (colon != std::string_view::npos) {
    opening.password = credentials.substr(colon + 1);
  }
}

/// What follows the NUL of credentials without a capability byte can be the query of a console, or
/// the first message of an old client that did not wait: its first byte is a byte order, 0 or 1.
bool may_be_message(std::string_view behind) {
  return behind.front() == '\1' || (behind.front() == '\0' && behind.size() > 1);
}

Opening console(std::string_view credentials, std::string_view behind, std::string_view text,
                bool ended) {
  const std::size_t nul = behind.find('\0');
  if (nul == std::string_view::npos || (behind.size() == 1 && !ended)) {
    return more(text, ended);
  }
  Opening opening;
  opening.kind = Opening::Kind::qcon;
  opening.text = behind.substr(0, nul);
  opening.consumed = credentials.size() + 1 + nul + 1;
  set_credentials(opening, credentials);
  return opening;
}

Opening binary(std::string_view text, bool ended) {
  const std::size_t nul = text.find('\0');
  if (nul == std::string_view::npos) {
    return more(text, ended);
  }
  std::string_view credentials = text.substr(0, nul);
  const std::string_view behind = text.substr(nul + 1);
  Opening opening;
  opening.kind = Opening::Kind::kdb;
  opening.consumed = nul + 1;
  if (!credentials.empty() && static_cast<unsigned char>(credentials.back()) < kCapabilityEnd) {
    opening.capability = static_cast<std::uint8_t>(credentials.back());
    credentials.remove_suffix(1);
  } else if (!behind.empty() && !may_be_message(behind)) {
    return console(credentials, behind, text, ended);
  }
  set_credentials(opening, credentials);
  return opening;
}

/// Length of the head with its blank line; 0 while that is not there.
std::size_t http_head_bytes(std::string_view text) {
  const std::size_t crlf = text.find("\r\n\r\n");
  const std::size_t lf = text.find("\n\n");
  if (crlf == std::string_view::npos && lf == std::string_view::npos) {
    return 0;
  }
  return std::min(crlf == std::string_view::npos ? crlf : crlf + 4,
                  lf == std::string_view::npos ? lf : lf + 2);
}

/// @param text  starts with the method and a blank.
Opening http(std::string_view text, std::string_view method, bool ended) {
  const std::size_t line_end = text.find('\n');
  const std::size_t head_bytes = http_head_bytes(text);
  const bool whole = head_bytes != 0 || ended || text.size() >= kOpeningBytesMax;
  if (line_end == std::string_view::npos || !whole) {
    return more(text, ended);
  }
  std::string_view line = text.substr(0, line_end);
  line.remove_prefix(method.size() + 1);
  const std::size_t target_end = line.find_first_of(" \r");
  if (target_end == 0 || line.empty() || line.find('\0') != std::string_view::npos) {
    return refused("bad HTTP request");
  }
  Opening opening;
  opening.kind = Opening::Kind::http;
  opening.method = method;
  opening.text = line.substr(0, target_end);
  opening.consumed = head_bytes != 0 ? head_bytes : text.size();
  return opening;
}

}  // namespace

Opening parse_opening(std::span<const std::byte> bytes, bool ended) {
  const std::size_t size = std::min(bytes.size(), kOpeningBytesMax);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), size);
  if (text.starts_with(kTls)) {
    return refused("TLS is not spoken here");
  }
  for (const std::string_view method : kMethods) {
    if (text.size() > method.size() && text.starts_with(method) && text[method.size()] == ' ') {
      return http(text, method, ended);
    }
  }
  return binary(text, ended);
}

}  // namespace mserve::broker
