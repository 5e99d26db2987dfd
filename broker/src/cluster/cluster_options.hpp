// SPDX-License-Identifier: Apache-2.0
// What broker and mserve-cluster are told of their cluster; the flags of both have these names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::cluster {

inline constexpr std::size_t kEndpointsMax = 16;
inline constexpr std::size_t kNameBytesMax = 31;   ///< Of cluster, id, zone, region.
inline constexpr std::size_t kHostBytesMax = 253;  ///< Of a host's name, as DNS has it.

/// Where one etcd listens for clients.
struct EtcdEndpoint {
  bool tls = false;
  std::string host{};  ///< A name or an address; IPv6 without brackets.
  std::string port{};

  /// As a URL.
  [[nodiscard]] std::string text() const;
  bool operator==(const EtcdEndpoint&) const = default;
};

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`; the port is 2379 unless given. Nothing: it is
/// something else.
[[nodiscard]] std::optional<EtcdEndpoint> parse_etcd_url(std::string_view url);

/// HOST:PORT or [IPV6]:PORT, as other hosts can dial it: port 1 to 65535.
[[nodiscard]] bool valid_address(std::string_view address) noexcept;

/// 1 to kNameBytesMax of [A-Za-z0-9._-].
[[nodiscard]] bool valid_name(std::string_view name) noexcept;

struct ClusterOptions {
  std::vector<std::string> endpoints{};  ///< URLs of etcd; empty: no cluster.
  std::string name = "default";
  std::string id{};    ///< Of this broker in all of the cluster; see default_id().
  std::string zone{};  ///< May be empty, as may be the region.
  std::string region{};
  std::string advertise{};  ///< HOST:PORT by which peers reach the gateway.
  std::uint64_t ttl_ns = 2'000'000'000;
  std::string ca_file{};    ///< Empty: whom the system trusts.
  std::string cert_file{};  ///< With key_file: what we show to etcd.
  std::string key_file{};
  std::string user{};           ///< Empty: nobody logs in.
  std::string password_file{};  ///< Empty: $MSERVE_CLUSTER_PASSWORD.
  std::string login_file{};     ///< USER:PASSWORD for the gateways of peers; empty: none.

  bool operator==(const ClusterOptions&) const = default;

  [[nodiscard]] bool enabled() const noexcept { return !endpoints.empty(); }
  /// Fills id and advertise where nothing was given. @param port  of -p; 0: none.
  void complete(const std::string& broker_name, std::uint32_t port);
  /// Adds every fault. Of options that are complete where there is a cluster.
  void validate(std::vector<std::string>& faults) const;
  /// As flags of mserve-cluster.
  [[nodiscard]] std::vector<std::string> flags() const;
};

/// This host's name up to its first dot, `-` and the broker's name, cut to kNameBytesMax.
[[nodiscard]] std::string default_id(const std::string& broker_name);

/// The first line of a file with a secret, without its end. @param fault  why there is none: it
/// cannot be read, is empty, longer than 4096 bytes, or others than its owner may read it.
[[nodiscard]] std::string read_secret(const std::string& path, std::string& fault);

}  // namespace mserve::cluster
