// SPDX-License-Identifier: Apache-2.0
// HAProxy in TCP mode on loopback, one thread, TCP_NODELAY at both ends, no splicing.
//   relay spin    its option busy-polling
//   relay block   as it comes: epoll_wait()
#include <fcntl.h>

#include <fstream>
#include <stdexcept>

#include "peers/child_relay.hpp"
#include "peers/kinds.hpp"
#include "peers/socket_peer.hpp"

namespace mserve::bench {
namespace {

class HaproxyPeer final : public Peer {
 public:
  HaproxyPeer(const PeerOptions& options, std::string haproxy_path)
      : options_(options),
        haproxy_path_(std::move(haproxy_path)),
        front_(listen_on_loopback()),
        back_(listen_on_loopback()),
        front_port_(port_of(front_.get())) {}

  std::unique_ptr<Relay> start_relay() override {
    const std::string config = options_.directory + "/haproxy.cfg";
    std::ofstream(config) << config_text() << std::flush;
    // The listening socket is handed over, so no port can be taken in between, and no client comes
    // too early.
    (void)fcntl(front_.get(), F_SETFD, 0);
    const PinnedIf pinned(relay_core(options_) >= 0, relay_core(options_));
    auto process = std::make_unique<ChildRelay>(
        std::vector<std::string>{haproxy_path_, "-f", config, "-db", "-q"},
        options_.directory + "/log", Child::Ready::not_at_all);
    front_.reset();
    return process;
  }
  std::unique_ptr<Endpoint> client() override {
    if (options_.mode == PeerMode::processes) {
      back_.reset();
    }
    return std::make_unique<SocketEndpoint>(connect_to(front_port_), options_.payload_bytes);
  }
  std::unique_ptr<Endpoint> servant() override {
    return std::make_unique<SocketEndpoint>(std::move(back_), options_.payload_bytes, true);
  }

 private:
  [[nodiscard]] std::string config_text() const {
    return std::string("global\n  nbthread 1\n") +
           (options_.setting.relay == Wait::block ? "" : "  busy-polling\n") +
           "  nosplice\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n"
           "  timeout server 1h\nlisten bench\n  bind fd@" +
           std::to_string(front_.get()) +
           "\n  server servant 127.0.0.1:" + std::to_string(port_of(back_.get())) + "\n";
  }

  PeerOptions options_;
  std::string haproxy_path_;
  shm::UniqueFd front_;
  shm::UniqueFd back_;
  std::uint16_t front_port_;
};

}  // namespace

std::unique_ptr<Peer> open_haproxy_peer(const PeerOptions& options,
                                        const std::string& haproxy_path) {
  return std::make_unique<HaproxyPeer>(options, haproxy_path);
}

}  // namespace mserve::bench
