// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mserve::shim {

/// Where a q process listens.
struct QEndpoint {
  bool local = false;  ///< A Unix domain socket.
  std::string host;    ///< TCP: a name or an address.
  std::string port;    ///< TCP: a number.
  std::string path;    ///< Local: the abstract name, and the path that is tried after it.

  /// As people write it: `host:5001`, or the path.
  [[nodiscard]] std::string text() const {
    return local ? path
                 : (host.find(':') != std::string::npos ? '[' + host + ']' : host) + ':' + port;
  }
};

/// `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT` (both: 127.0.0.1). Nothing when it is none of
/// these.
[[nodiscard]] std::optional<QEndpoint> parse_endpoint(std::string_view text);

/// A path as it is, or a port, whose socket q calls /tmp/kx.PORT, or $QUDSPATH/kx.PORT.
/// @param uds_directory  $QUDSPATH; nullptr or empty: /tmp. Nothing when it fits no socket address.
[[nodiscard]] std::optional<QEndpoint> parse_local_endpoint(std::string_view text,
                                                            const char* uds_directory);

}  // namespace mserve::shim
