// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/gateway_options.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

/// A Unix socket that clients may look for and do not find.
struct MissingSocket {
  const char* kind = "";  ///< `abstract` or `path`.
  std::string path;
  std::string reason;
};

/// Where kdb+ clients find us: TCP, and the Unix sockets that kdb+ derives from the port, the
/// abstract name and the path $QUDSPATH/kx.PORT (/tmp without QUDSPATH; none at all if that is set
/// but empty). All sockets are non-blocking and CLOEXEC.
class Listeners {
 public:
  /// Binds all. A TCP address that is taken is an error; a Unix name that a live process has, or
  /// that is not ours to replace, is left alone and told in `missed`.
  /// @param reason  one sentence on an error.
  [[nodiscard]] static Result<Listeners> open(const GatewayOptions& options, std::string& reason,
                                              std::vector<MissingSocket>& missed);

  Listeners(Listeners&& other) noexcept = default;
  Listeners& operator=(Listeners&&) = delete;
  ~Listeners() { close(); }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] const std::vector<shm::UniqueFd>& sockets() const noexcept { return sockets_; }
  /// The path of the Unix socket; empty without one.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Stops listening and removes the path if it is still ours. Harmless when called twice.
  void close() noexcept;

 private:
  Listeners() = default;
  [[nodiscard]] Error listen_tcp(const std::string& address, std::string& reason);
  void listen_abstract(const std::string& path, std::vector<MissingSocket>& missed);
  void listen_path(const std::string& path, std::vector<MissingSocket>& missed);

  std::uint16_t port_ = 0;
  std::vector<shm::UniqueFd> sockets_;
  std::string path_;
  dev_t path_device_ = 0;
  ino_t path_inode_ = 0;
};

/// $QUDSPATH/kx.PORT by the rule above; nothing when it says no Unix sockets.
[[nodiscard]] std::optional<std::string> unix_socket_path(std::uint16_t port);

}  // namespace mserve::broker
