// SPDX-License-Identifier: Apache-2.0
// Boost.Interprocess message_queue: four of them, and a relay of ours between.
//   relay spin, yield  one thread, try_receive() on both queues
//   relay block        a thread for each direction, in receive()
#include <unistd.h>

#include <boost/date_time/posix_time/posix_time_types.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "peers/kinds.hpp"
#include "peers/relay_both_ways.hpp"
#include "peers/role_process.hpp"

namespace mserve::bench {
namespace {

namespace ipc = boost::interprocess;

constexpr std::size_t kMessagesMax = 64;

/// A queue whose name is gone again: processes forked off later share its memory.
class Queue {
 public:
  explicit Queue(std::size_t payload_bytes) {
    static int number = 0;
    const std::string name =
        "mserve-bench." + std::to_string(getpid()) + "." + std::to_string(++number);
    // Left by a process of the same number that was killed in the two lines below.
    (void)ipc::message_queue::remove(name.c_str());
    queue_.emplace(ipc::create_only, name.c_str(), kMessagesMax, payload_bytes,
                   ipc::permissions(0600));
    (void)ipc::message_queue::remove(name.c_str());
  }
  [[nodiscard]] ipc::message_queue& operator*() noexcept { return *queue_; }
  [[nodiscard]] ipc::message_queue* operator->() noexcept { return &*queue_; }

 private:
  std::optional<ipc::message_queue> queue_;
};

struct Queues {
  explicit Queues(std::size_t payload_bytes)
      : client_to_relay(payload_bytes),
        relay_to_servant(payload_bytes),
        servant_to_relay(payload_bytes),
        relay_to_client(payload_bytes) {}
  Queue client_to_relay;
  Queue relay_to_servant;
  Queue servant_to_relay;
  Queue relay_to_client;
};

void check_size(std::size_t got, std::size_t wanted) {
  if (got != wanted) {
    throw std::runtime_error("message_queue: " + std::to_string(got) + " bytes instead of " +
                             std::to_string(wanted));
  }
}

/// One direction of the relay.
struct QueueDirection {
  Queue& from;
  Queue& to;
  std::vector<std::byte> bytes;

  bool step() {
    std::size_t size = 0;
    unsigned priority = 0;
    if (!from->try_receive(bytes.data(), bytes.size(), size, priority)) {
      return false;
    }
    to->send(bytes.data(), size, 0);
    return true;
  }
  [[noreturn]] void run() {
    for (;;) {
      std::size_t size = 0;
      unsigned priority = 0;
      from->receive(bytes.data(), bytes.size(), size, priority);
      to->send(bytes.data(), size, 0);
    }
  }
};

[[noreturn]] void relay(Queues& queues, std::size_t payload_bytes, Wait wait) {
  const std::vector<std::byte> bytes(payload_bytes);
  QueueDirection requests{queues.client_to_relay, queues.relay_to_servant, bytes};
  QueueDirection answers{queues.servant_to_relay, queues.relay_to_client, bytes};
  relay_both_ways(requests, answers, wait);
}

class QueueEndpoint final : public Endpoint {
 public:
  QueueEndpoint(Queue& out, Queue& in) : out_(out), in_(in) {}

  bool try_send(std::span<const std::byte> message) override {
    return out_->try_send(message.data(), message.size(), 0);
  }
  bool try_receive(std::span<std::byte> message) override {
    std::size_t size = 0;
    unsigned priority = 0;
    if (!in_->try_receive(message.data(), message.size(), size, priority)) {
      return false;
    }
    check_size(size, message.size());
    return true;
  }
  bool receive(std::span<std::byte> message) override {
    std::size_t size = 0;
    unsigned priority = 0;
    const auto until =
        boost::posix_time::microsec_clock::universal_time() + boost::posix_time::milliseconds(1000);
    if (!in_->timed_receive(message.data(), message.size(), size, priority, until)) {
      return false;
    }
    check_size(size, message.size());
    return true;
  }

 private:
  Queue& out_;
  Queue& in_;
};

class QueuePeer final : public Peer {
 public:
  explicit QueuePeer(const PeerOptions& options)
      : options_(options), queues_(options.payload_bytes) {}

  std::unique_ptr<Relay> start_relay() override {
    return fork_relay("relay of message_queue", options_,
                      [this](const std::function<void()>& ready) {
                        ready();
                        relay(queues_, options_.payload_bytes, options_.setting.relay);
                      });
  }
  std::unique_ptr<Endpoint> client() override {
    return std::make_unique<QueueEndpoint>(queues_.client_to_relay, queues_.relay_to_client);
  }
  std::unique_ptr<Endpoint> servant() override {
    return std::make_unique<QueueEndpoint>(queues_.servant_to_relay, queues_.relay_to_servant);
  }

 private:
  PeerOptions options_;
  Queues queues_;
};

}  // namespace

std::unique_ptr<Peer> open_boost_queue_peer(const PeerOptions& options) {
  return std::make_unique<QueuePeer>(options);
}

}  // namespace mserve::bench
