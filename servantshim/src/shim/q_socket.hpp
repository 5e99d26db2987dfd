// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "mserve/shm/unique_fd.hpp"
#include "shim/q_endpoint.hpp"
#include "shim/q_link.hpp"

namespace mserve::shim {

/// Longest wait between two looks at a stop flag.
inline constexpr std::uint64_t kStopLookNs = 50'000'000;

/// How a connection to q is made.
struct SocketOptions {
  std::uint64_t connect_ns_max = 5'000'000'000;  ///< For each address that the name stands for.
  /// A q on another host whose kernel acknowledges nothing for this long is gone; 0: the kernel's
  /// own patience (minutes). Never set for this host: a kernel counts a full receive buffer too,
  /// and a local q can only be busy.
  std::uint64_t user_timeout_ns = 30'000'000'000;
};

/// A connected, non-blocking stream socket to q.
class QSocket final : public QLink {
 public:
  /// Tries each address that the endpoint stands for: those of the host's name; of a local one the
  /// abstract name, the abstract name filled up with NULs, the path, as KX's own clients do.
  /// @param stop  makes it fail soon once it is true.
  /// @param why   one sentence on failure.
  [[nodiscard]] bool connect(const QEndpoint& endpoint, const SocketOptions& options,
                             const std::atomic<bool>& stop, std::string& why);
  void close() noexcept { fd_.reset(); }
  [[nodiscard]] bool connected() const noexcept { return static_cast<bool>(fd_); }
  /// Whether the other end has another address than this one: q runs on another host.
  [[nodiscard]] bool elsewhere() const noexcept;
  /// For poll().
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  [[nodiscard]] Transfer send(std::span<const Piece> pieces) noexcept override;
  [[nodiscard]] Transfer receive(std::span<std::byte> into) noexcept override;

  /// Whether something can be received, or q hung up.
  [[nodiscard]] bool has_something() const noexcept;

  /// Waits until q can be read from (or written to) or hung up. @return false after `ns`, or soon
  /// after `stop`.
  [[nodiscard]] bool wait(bool writable, std::uint64_t ns, const std::atomic<bool>& stop) const;

 private:
  shm::UniqueFd fd_;
};

}  // namespace mserve::shim
