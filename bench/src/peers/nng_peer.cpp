// SPDX-License-Identifier: Apache-2.0
// nng over ipc: req and rep with a device between. Client and servant use raw sockets as the device
// does: without them a client has one request under way, and a timer for sending it again.
//   relay spin, yield  the relay's thread asks both raw sockets without waiting
//   relay block        nng_device()
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <sched.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "peers/kinds.hpp"
#include "peers/role_process.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint32_t kRequestBit = 0x80000000U;

void check(int result, const char* what) {
  if (result != 0) {
    throw std::runtime_error(std::string("nng: ") + what + ": " + nng_strerror(result));
  }
}
bool would_wait(int result) noexcept {
  return result == NNG_EAGAIN || result == NNG_ETIMEDOUT || result == NNG_EINTR;
}

class NngSocket {
 public:
  explicit NngSocket(int (*open)(nng_socket*)) {
    check(open(&socket_), "open");
    (void)nng_socket_set_ms(socket_, NNG_OPT_RECVTIMEO, kReceiveMsMax);
  }
  ~NngSocket() { (void)nng_close(socket_); }
  NngSocket(const NngSocket&) = delete;
  NngSocket& operator=(const NngSocket&) = delete;
  [[nodiscard]] nng_socket get() const noexcept { return socket_; }

  void listen(const std::string& address) const {
    check(nng_listen(socket_, address.c_str(), nullptr, 0), address.c_str());
  }
  void dial(const std::string& address) const {
    check(nng_dial(socket_, address.c_str(), nullptr, 0), address.c_str());
  }

 private:
  nng_socket socket_{};
};

std::string nng_address_of(const PeerOptions& options, const char* side) {
  return "ipc://" + options.directory + "/nng-" + side;
}

/// Moves one message with its header. @return false when none is there.
bool move_message(const NngSocket& from, const NngSocket& to) {
  nng_msg* message = nullptr;
  const int result = nng_recvmsg(from.get(), &message, NNG_FLAG_NONBLOCK);
  if (would_wait(result)) {
    return false;
  }
  check(result, "receive");
  check(nng_sendmsg(to.get(), message, 0), "send");
  return true;
}

[[noreturn]] void relay(const NngSocket& front, const NngSocket& back, Wait wait) {
  if (wait == Wait::block) {
    check(nng_device(front.get(), back.get()), "device");
    throw std::runtime_error("nng: the device ended");
  }
  for (;;) {
    const bool moved =
        static_cast<int>(move_message(front, back)) + static_cast<int>(move_message(back, front)) !=
        0;
    if (!moved && wait == Wait::yield) {
      sched_yield();
    }
  }
}

/// Takes a message and copies its body out. @return the message, the caller's; null: none is there.
nng_msg* receive_into(std::span<std::byte> to, const NngSocket& socket, int flags) {
  nng_msg* message = nullptr;
  const int result = nng_recvmsg(socket.get(), &message, flags);
  if (would_wait(result)) {
    return nullptr;
  }
  check(result, "receive");
  const std::size_t size = nng_msg_len(message);
  if (size != to.size()) {
    nng_msg_free(message);
    throw std::runtime_error("nng: " + std::to_string(size) + " bytes instead of " +
                             std::to_string(to.size()));
  }
  std::memcpy(to.data(), nng_msg_body(message), size);
  return message;
}

class NngClient final : public Endpoint {
 public:
  explicit NngClient(const std::string& address) : socket_(nng_req0_open_raw) {
    socket_.dial(address);
  }

  bool try_send(std::span<const std::byte> bytes) override {
    nng_msg* message = nullptr;
    check(nng_msg_alloc(&message, 0), "message");
    check(nng_msg_append(message, bytes.data(), bytes.size()), "message");
    check(nng_msg_header_append_u32(message, ++number_ | kRequestBit), "message");
    const int result = nng_sendmsg(socket_.get(), message, NNG_FLAG_NONBLOCK);
    if (result != 0) {
      nng_msg_free(message);
      if (!would_wait(result)) {
        check(result, "send");
      }
    }
    return result == 0;
  }
  bool try_receive(std::span<std::byte> to) override { return take(to, NNG_FLAG_NONBLOCK); }
  bool receive(std::span<std::byte> to) override { return take(to, 0); }

 private:
  bool take(std::span<std::byte> to, int flags) {
    nng_msg* const message = receive_into(to, socket_, flags);
    if (message == nullptr) {
      return false;
    }
    nng_msg_free(message);
    return true;
  }

  NngSocket socket_;
  std::uint32_t number_ = 0;
};

/// Answers with the message that it got: the header says where to.
class NngServant final : public Endpoint {
 public:
  explicit NngServant(const std::string& address) : socket_(nng_rep0_open_raw) {
    socket_.dial(address);
  }
  ~NngServant() override {
    if (message_ != nullptr) {
      nng_msg_free(message_);
    }
  }

  bool try_send(std::span<const std::byte> bytes) override {
    if (message_ == nullptr || nng_msg_len(message_) != bytes.size()) {
      throw std::runtime_error("nng: an answer without a request");
    }
    std::memcpy(nng_msg_body(message_), bytes.data(), bytes.size());
    const int result = nng_sendmsg(socket_.get(), message_, NNG_FLAG_NONBLOCK);
    if (would_wait(result)) {
      return false;
    }
    check(result, "send");
    message_ = nullptr;
    return true;
  }
  bool try_receive(std::span<std::byte> to) override { return take(to, NNG_FLAG_NONBLOCK); }
  bool receive(std::span<std::byte> to) override { return take(to, 0); }

 private:
  bool take(std::span<std::byte> to, int flags) {
    nng_msg* const message = receive_into(to, socket_, flags);
    if (message == nullptr) {
      return false;
    }
    if (message_ != nullptr) {
      nng_msg_free(message_);
    }
    message_ = message;
    return true;
  }

  NngSocket socket_;
  nng_msg* message_ = nullptr;
};

class NngPeer final : public Peer {
 public:
  explicit NngPeer(const PeerOptions& options) : options_(options) {}

  std::unique_ptr<Relay> start_relay() override {
    return fork_relay("relay of nng", options_, [this](const std::function<void()>& ready) {
      const NngSocket front(nng_rep0_open_raw);
      const NngSocket back(nng_req0_open_raw);
      front.listen(nng_address_of(options_, "clients"));
      back.listen(nng_address_of(options_, "servants"));
      ready();
      relay(front, back, options_.setting.relay);
    });
  }
  std::unique_ptr<Endpoint> client() override {
    return std::make_unique<NngClient>(nng_address_of(options_, "clients"));
  }
  std::unique_ptr<Endpoint> servant() override {
    return std::make_unique<NngServant>(nng_address_of(options_, "servants"));
  }

 private:
  PeerOptions options_;
};

}  // namespace

std::unique_ptr<Peer> open_nng_peer(const PeerOptions& options) {
  return std::make_unique<NngPeer>(options);
}

}  // namespace mserve::bench
