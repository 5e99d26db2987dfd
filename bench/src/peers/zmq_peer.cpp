// SPDX-License-Identifier: Apache-2.0
// ZeroMQ over ipc: DEALER - ROUTER/DEALER - DEALER. The client is a DEALER rather than a REQ, and
// so is the servant, which returns the router's frame as it came: a frame less than REQ and REP,
// and many requests at once.
//   relay spin, yield  the relay's thread asks both sockets with ZMQ_DONTWAIT
//   relay block        zmq_proxy()
#include <sched.h>
#include <zmq.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

#include "peers/kinds.hpp"
#include "peers/role_process.hpp"

namespace mserve::bench {
namespace {

[[noreturn]] void fail_with_zmq_errno(const char* what) {
  throw std::runtime_error(std::string("ZeroMQ: ") + what + ": " + zmq_strerror(zmq_errno()));
}

class Context {
 public:
  Context() : context_(zmq_ctx_new()) {
    if (context_ == nullptr) {
      fail_with_zmq_errno("no context");
    }
  }
  ~Context() { (void)zmq_ctx_term(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  [[nodiscard]] void* get() const noexcept { return context_; }

 private:
  void* context_;
};

class ZmqSocket {
 public:
  ZmqSocket(const Context& context, int type) : socket_(zmq_socket(context.get(), type)) {
    if (socket_ == nullptr) {
      fail_with_zmq_errno("no socket");
    }
    const int none = 0;
    (void)zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof(none));
    (void)zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &kReceiveMsMax, sizeof(kReceiveMsMax));
  }
  ~ZmqSocket() { (void)zmq_close(socket_); }
  ZmqSocket(const ZmqSocket&) = delete;
  ZmqSocket& operator=(const ZmqSocket&) = delete;
  [[nodiscard]] void* get() const noexcept { return socket_; }

  void bind(const std::string& address) const {
    if (zmq_bind(socket_, address.c_str()) != 0) {
      fail_with_zmq_errno(address.c_str());
    }
  }
  void connect(const std::string& address) const {
    if (zmq_connect(socket_, address.c_str()) != 0) {
      fail_with_zmq_errno(address.c_str());
    }
  }

 private:
  void* socket_;
};

std::string zmq_address_of(const PeerOptions& options, const char* side) {
  return "ipc://" + options.directory + "/zmq-" + side;
}

/// Moves one message, all its frames. @return false when none is there.
bool move_message(void* from, void* to, zmq_msg_t& frame) {
  int flags = ZMQ_DONTWAIT;
  for (;;) {
    if (zmq_msg_recv(&frame, from, flags) < 0) {
      if (zmq_errno() == EAGAIN) {
        return false;
      }
      fail_with_zmq_errno("receive");
    }
    const bool more = zmq_msg_more(&frame) != 0;
    if (zmq_msg_send(&frame, to, more ? ZMQ_SNDMORE : 0) < 0) {
      fail_with_zmq_errno("send");
    }
    if (!more) {
      return true;
    }
    flags = 0;  // a message comes whole
  }
}

[[noreturn]] void relay(void* front, void* back, Wait wait) {
  if (wait == Wait::block) {
    (void)zmq_proxy(front, back, nullptr);
    fail_with_zmq_errno("zmq_proxy");
  }
  zmq_msg_t frame;
  (void)zmq_msg_init(&frame);
  for (;;) {
    const bool moved = static_cast<int>(move_message(front, back, frame)) +
                           static_cast<int>(move_message(back, front, frame)) !=
                       0;
    if (!moved && wait == Wait::yield) {
      sched_yield();
    }
  }
}

class ZmqEndpoint final : public Endpoint {
 public:
  ZmqEndpoint(std::shared_ptr<Context> context, const std::string& address, bool routed)
      : context_(std::move(context)), socket_(*context_, ZMQ_DEALER), routed_(routed) {
    socket_.connect(address);
  }

  bool try_send(std::span<const std::byte> message) override {
    if (routed_ &&
        zmq_send(socket_.get(), route_.data(), route_bytes_, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
      return refused();
    }
    return zmq_send(socket_.get(), message.data(), message.size(), ZMQ_DONTWAIT) >= 0 || refused();
  }
  bool try_receive(std::span<std::byte> message) override { return take(message, ZMQ_DONTWAIT); }
  bool receive(std::span<std::byte> message) override { return take(message, 0); }

 private:
  static bool refused() {
    if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) {
      fail_with_zmq_errno("send or receive");
    }
    return false;
  }
  bool take(std::span<std::byte> message, int flags) {
    if (routed_) {
      const int size = zmq_recv(socket_.get(), route_.data(), route_.size(), flags);
      if (size < 0) {
        return refused();
      }
      route_bytes_ = std::min(static_cast<std::size_t>(size), route_.size());
    }
    const int size = zmq_recv(socket_.get(), message.data(), message.size(), flags);
    if (size < 0) {
      return refused();
    }
    if (static_cast<std::size_t>(size) != message.size()) {
      throw std::runtime_error("ZeroMQ: " + std::to_string(size) + " bytes instead of " +
                               std::to_string(message.size()));
    }
    return true;
  }

  std::shared_ptr<Context> context_;
  ZmqSocket socket_;
  bool routed_;  ///< The servant: the router's frame comes before each message.
  std::array<std::byte, 255> route_{};
  std::size_t route_bytes_ = 0;
};

class ZmqPeer final : public Peer {
 public:
  explicit ZmqPeer(const PeerOptions& options) : options_(options) {}

  std::unique_ptr<Relay> start_relay() override {
    return fork_relay("relay of ZeroMQ", options_, [this](const std::function<void()>& ready) {
      const Context context;
      const ZmqSocket front(context, ZMQ_ROUTER);
      const ZmqSocket back(context, ZMQ_DEALER);
      front.bind(zmq_address_of(options_, "clients"));
      back.bind(zmq_address_of(options_, "servants"));
      ready();
      relay(front.get(), back.get(), options_.setting.relay);
    });
  }
  std::unique_ptr<Endpoint> client() override {
    return std::make_unique<ZmqEndpoint>(context(), zmq_address_of(options_, "clients"), false);
  }
  std::unique_ptr<Endpoint> servant() override {
    return std::make_unique<ZmqEndpoint>(context(), zmq_address_of(options_, "servants"), true);
  }

 private:
  /// One for both in pair mode, so that there is one thread that does its input and output.
  std::shared_ptr<Context> context() {
    if (!context_) {
      context_ = std::make_shared<Context>();
    }
    return context_;
  }

  PeerOptions options_;
  std::shared_ptr<Context> context_;
};

}  // namespace

std::unique_ptr<Peer> open_zmq_peer(const PeerOptions& options) {
  return std::make_unique<ZmqPeer>(options);
}

}  // namespace mserve::bench
