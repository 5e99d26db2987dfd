// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mserve {

/// A gateway that is reached over TCP.
struct TcpEndpoint {
  std::string host;  ///< Name or numeric address, without brackets.
  std::uint16_t port = 0;
  std::string user;  ///< Only if has_user.
  std::string password;
  bool has_user = false;
  std::string text;  ///< `tcp://host:port`, never with credentials: for people and logs.
};

/// Where a client looks for a broker, in this order.
struct Endpoints {
  std::string local;  ///< Name of a broker on this host; empty for none.
  std::vector<TcpEndpoint> remote;
};

/// Most TCP endpoints of one client.
inline constexpr std::size_t kEndpointsMax = 16;

/// Reads `NAME`, `tcp://[user[:password]@]host:port[,host2:port2...]` or `NAME,tcp://...`. Further
/// TCP endpoints may repeat the `tcp://`. Credentials hold for their endpoint and those behind it,
/// until others are given; %XX in them stands for a byte. An IPv6 address is put in brackets.
/// @return what is wrong, in one sentence, or an empty text and `out` filled.
[[nodiscard]] std::string parse_endpoints(std::string_view text, Endpoints& out);

/// What is wrong with credentials, in a few words; empty when nothing is.
[[nodiscard]] std::string_view fault_of_credentials(std::string_view user,
                                                    std::string_view password) noexcept;

}  // namespace mserve
