// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/endpoints.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve {

/// A socket to a gateway that took user and password. Non-blocking.
struct TcpSession {
  shm::UniqueFd socket;
  std::uint8_t capability = 0;  ///< What both sides know, 0..kCapabilityOffered.
  std::string endpoint;         ///< `tcp://host:port`
};

/// The kdb+ capability that this library offers: messages and vectors above 2 GiB.
inline constexpr std::uint8_t kCapabilityOffered = 6;

/// Tries endpoints in order until one takes us. What one call does not finish the next one goes on
/// with, so a caller with little time gets through to a far host as well.
///
/// Name resolution (getaddrinfo) blocks for as long as the system's resolver does; numeric
/// addresses need none. Everything else keeps to the deadline.
class TcpDialer {
 public:
  /// @param user, password  for endpoints that name none.
  /// @param connect_ns_max  bound on one endpoint: connecting and handshake.
  TcpDialer(std::vector<TcpEndpoint> endpoints, std::string user, std::string password,
            std::uint64_t connect_ns_max);

  /// Starts the round, or goes on with it, until one endpoint answers, all have failed, or the
  /// deadline comes.
  /// @param reason  receives what became of each endpoint that failed so far, in one line; not
  /// null.
  /// @return the session; `timed_out` when the deadline came first (the attempt goes on); when all
  ///   failed, the first code that another round might mend, else the first: `no_broker` (nobody
  ///   listens, unknown host, no way there), `timed_out`, `access` (refused), `os`.
  [[nodiscard]] Result<TcpSession> dial(std::uint64_t deadline_ns, std::string* reason);

  /// Drops what is under way; the next dial() starts a new round.
  void reset() noexcept;

 private:
  enum class Stage : std::uint8_t { endpoint, address, connecting, greeted };
  struct Address {
    sockaddr_storage bytes;
    socklen_t size;
  };

  // Each makes one step. @return false when it has to wait for the socket.
  void resolve();
  void start_connecting();
  [[nodiscard]] bool finish_connecting();
  void greet();
  [[nodiscard]] bool take_answer(TcpSession& out, bool& done);

  void fail_address(Errc code, std::string why);
  void next_endpoint();
  [[nodiscard]] std::string round_so_far() const;

  const std::vector<TcpEndpoint> endpoints_;
  const std::string user_;
  const std::string password_;
  const std::uint64_t connect_ns_max_;

  Stage stage_ = Stage::endpoint;
  std::size_t endpoint_ = 0;
  std::vector<Address> addresses_;
  std::size_t address_ = 0;
  shm::UniqueFd socket_;
  std::uint64_t until_ns_ = 0;  ///< When the address under way is given up.
  Errc code_ = Errc::ok;        ///< Of the endpoint under way.
  std::string why_;
  std::vector<Errc> codes_;  ///< Of the endpoints that failed in this round.
  std::string failures_;
};

}  // namespace mserve
