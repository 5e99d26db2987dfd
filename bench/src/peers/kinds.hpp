// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "peers/peer.hpp"

namespace mserve::bench {

/// Each in the file of its name. They throw std::exception when it cannot be opened.
[[nodiscard]] std::unique_ptr<Peer> open_mserve_peer(const PeerOptions& options,
                                                     const std::string& broker_path);
[[nodiscard]] std::unique_ptr<Peer> open_unix_peer(const PeerOptions& options);
[[nodiscard]] std::unique_ptr<Peer> open_tcp_peer(const PeerOptions& options);
[[nodiscard]] std::unique_ptr<Peer> open_boost_queue_peer(const PeerOptions& options);
[[nodiscard]] std::unique_ptr<Peer> open_zmq_peer(const PeerOptions& options);
[[nodiscard]] std::unique_ptr<Peer> open_nng_peer(const PeerOptions& options);
[[nodiscard]] std::unique_ptr<Peer> open_haproxy_peer(const PeerOptions& options,
                                                      const std::string& haproxy_path);

}  // namespace mserve::bench
