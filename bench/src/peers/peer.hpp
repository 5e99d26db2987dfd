// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cores.hpp"

namespace mserve::bench {

/// Who plays client and servant of a peer.
enum class PeerMode : std::uint8_t {
  pair,       ///< One thread on core A; the relay has core B.
  processes,  ///< Client, relay and servant are three processes on these two cores.
};
[[nodiscard]] const char* to_string(PeerMode mode) noexcept;

/// What somebody does until a message comes.
enum class Wait : std::uint8_t {
  spin,   ///< Asks again at once.
  yield,  ///< Asks, then offers its core to others.
  block,  ///< What the system itself does; usually it sleeps.
};

enum class PeerPlacement : std::uint8_t {
  apart,     ///< Client and servant on core A, the relay on core B.
  together,  ///< All on core A.
  anywhere,  ///< Where the kernel likes.
};

/// One way to run a peer.
struct PeerSetting {
  Wait ends = Wait::block;   ///< Client and servant.
  Wait relay = Wait::block;  ///< What it means for a relay stands with each peer.
  PeerPlacement placement = PeerPlacement::apart;
  /// Threads that a library starts may use all cores; else those of the thread that opened it.
  bool free_threads = false;
};
/// "ends spin, relay spins, apart": for tables.
[[nodiscard]] std::string describe(const PeerSetting& setting);

/// The longest sleep of Endpoint::receive().
inline constexpr int kReceiveMsMax = 1000;

/// The client's or the servant's end of a peer. Messages have one length, which both sides know.
/// What goes wrong is thrown as std::runtime_error. One thread.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// @return false when there is no room now and nothing was sent.
  [[nodiscard]] virtual bool try_send(std::span<const std::byte> message) = 0;
  /// @return false when there is no whole message yet.
  [[nodiscard]] virtual bool try_receive(std::span<std::byte> message) = 0;
  /// Sleeps as the system does, a second at most.
  /// @return false when nothing came.
  [[nodiscard]] virtual bool receive(std::span<std::byte> message) = 0;

 protected:
  Endpoint() = default;
};

/// A relay that runs, in another process. Ends with this object.
class Relay {
 public:
  virtual ~Relay() = default;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  /// Does not wait.
  [[nodiscard]] virtual bool ended() = 0;

 protected:
  Relay() = default;
};

/// Where and for what a peer is opened.
struct PeerOptions {
  PeerMode mode = PeerMode::pair;
  PeerSetting setting;
  CorePair cores;
  std::size_t payload_bytes = 40;  ///< 1..kPeerPayloadBytesMax.
  std::string directory;           ///< For sockets and logs; removed by the caller.
};
inline constexpr std::size_t kPeerPayloadBytesMax = std::size_t{1} << 16;
/// The relay's core; -1: any.
[[nodiscard]] int relay_core(const PeerOptions& options) noexcept;
/// Core of client and servant; -1: any.
[[nodiscard]] int ends_core(const PeerOptions& options) noexcept;

/// One system through which a client can ask a servant. Objects are made before any process is
/// forked off, so they make what has no name or loses it at once, and start no thread.
class Peer {
 public:
  virtual ~Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Starts the relay and waits until it can be used. The caller is the only thread of its process,
  /// and not pinned.
  [[nodiscard]] virtual std::unique_ptr<Relay> start_relay() = 0;
  /// To be called once, in the process that uses it, after start_relay(). The servant's is opened
  /// first, so what has to wait for a client waits in its first use.
  [[nodiscard]] virtual std::unique_ptr<Endpoint> client() = 0;
  [[nodiscard]] virtual std::unique_ptr<Endpoint> servant() = 0;

 protected:
  Peer() = default;
};

/// One line of the catalogue.
struct PeerKind {
  const char* name;   ///< For --only.
  const char* title;  ///< "ZeroMQ".
  const char* how;    ///< Patterns and transport in words, whatever the setting.
  /// Empty when it can be measured; else what is missing and how to get it.
  std::string missing;
  std::vector<PeerSetting> pair;       ///< The best first, then what was tried beside it.
  std::vector<PeerSetting> processes;  ///< Likewise.
  std::function<std::unique_ptr<Peer>(const PeerOptions&)> open;

  [[nodiscard]] const std::vector<PeerSetting>& settings(PeerMode mode) const noexcept {
    return mode == PeerMode::pair ? pair : processes;
  }
};

/// mserve first, then every peer, also those that this build or this machine lacks.
/// @param broker_path  the mserve-broker to start.
[[nodiscard]] std::vector<PeerKind> peer_catalogue(const std::string& broker_path);

}  // namespace mserve::bench
