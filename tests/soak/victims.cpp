// SPDX-License-Identifier: Apache-2.0
#include "soak/victims.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <stdexcept>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/socket.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

constexpr std::uint64_t kBetweenLiesNs = 10'000'000;
constexpr std::uint64_t kMessageBytesMax = 16ULL << 20;

/// The bytes of ``(`echo;x)`` before those of x.
std::size_t echo_call_bytes() {
  const std::array<kdb::Value, 1> argument = {kdb::Value::chars("")};
  return kdb::encode_call("echo", argument).size() - kdb::encoded_size(argument[0]);
}

class Victim {
 public:
  Victim(const VictimOptions& options, shm::Role role, bool hostile)
      : options_(options), role_(role), hostile_(hostile), random_(options.seed) {}

  [[noreturn]] void run() {
    for (;;) {
      try {
        RawPeer peer(options_.directory, options_.broker,
                     RawSetup{.role = role_,
                              .name = hostile_ ? "hostile" : "victim",
                              .credit = static_cast<std::uint32_t>(1 + random_() % 3)});
        held_.clear();
        large_ = 0;
        flows_ = shm::Assembler(kMessageBytesMax);
        const std::uint64_t good = hostile_ ? random_() % 200 : ~std::uint64_t{0};
        // Many leave of their own accord, with everything under way.
        const std::uint64_t turns = random_() % 4 == 0 ? random_() % 20 : random_() % 2000;
        for (std::uint64_t turn = 0; turn < turns && !peer.closed(); ++turn) {
          if (turn >= good) {
            lie(peer);
          } else if (role_ == shm::Role::client) {
            ask(peer);
          } else {
            serve(peer);
          }
          let_pass(random_() % 500'000);
        }
        if (hostile_) {
          let_pass(kBetweenLiesNs);  // each lie is a line of the log
        }
      } catch (const std::runtime_error&) {
        let_pass(2'000'000);  // no broker now, or no room for one more session
      }
    }
  }

 private:
  void ask(RawPeer& peer) {
    shm::FrameHeader head;
    head.id = ++id_;
    head.flags = random_() % 2 == 0 ? shm::kFlagRepeatable : std::uint8_t{0};
    const std::array<kdb::Value, 1> argument = {
        kdb::Value::chars(std::string(random_() % 4000, 'v'))};
    const Bytes call = kdb::encode_call("echo", argument);
    if (random_() % 8 == 0) {
      begin_large(peer, head, call);
    } else {
      (void)peer.try_send(head, {}, call);
    }
    if (random_() % 8 == 0) {
      head.kind = shm::Kind::cancel;
      head.flags = 0;
      (void)peer.send_control(head);
    }
    for (int i = 0; i < 3 && random_() % 4 != 0; ++i) {  // else it reads slowly
      (void)peer.poll();
    }
  }

  /// The rest never comes: it is given up before the next one, or the victim is dead by then.
  void begin_large(RawPeer& peer, shm::FrameHeader head, const Bytes& first) {
    if (large_ != 0) {
      shm::FrameHeader abort;
      abort.kind = shm::Kind::abort;
      abort.id = large_;
      if (!peer.try_send(abort, {}, {})) {
        return;
      }
    }
    std::array<std::byte, shm::ext_bytes_of(sizeof(shm::FlowExt))> extension{};
    const shm::FlowExt flow{0, first.size() + 1 + random_() % 1'000'000};
    (void)shm::put_extension(extension.data(), shm::ExtType::flow, 0, flow);
    large_ = peer.try_send(head, extension, first) ? head.id : 0;
  }

  void serve(RawPeer& peer) {
    if (const auto frame = peer.poll()) {
      take(peer, *frame);
    }
    // What a liar had answered it might then overwrite: honest clients would get those very bytes.
    if (!hostile_ && !held_.empty() && random_() % 4 != 0) {
      answer(peer);
    }
  }

  void take(RawPeer& peer, const Frame& frame) {
    if (frame.header.kind == shm::Kind::abort) {
      flows_.drop(frame.header.id);
      shm::FrameHeader head;
      head.kind = shm::Kind::abort;
      head.id = frame.header.id;
      (void)peer.send(head, {}, {});
      return;
    }
    if (frame.header.kind != shm::Kind::request) {
      return;
    }
    Bytes whole = frame.payload;
    if (frame.extensions.has_flow) {
      whole.clear();
      if (flows_.add(frame.header.id, frame.extensions.flow, frame.payload, whole) != Errc::ok) {
        return;
      }
    }
    // Of a pair, which is how a query with options comes through the gateway, the first object.
    if (const auto call = kdb::skip(whole); call && call.value() >= call_bytes_) {
      held_[frame.header.id] = {whole.begin() + static_cast<std::ptrdiff_t>(call_bytes_),
                                whole.begin() + static_cast<std::ptrdiff_t>(call.value())};
    }
  }

  /// Whole, or as many small fragments, so that death comes in their middle.
  void answer(RawPeer& peer) {
    const auto [id, result] = *held_.begin();
    held_.erase(held_.begin());
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.id = id;
    head.aux = shm::pack(shm::ReplyAux{peer.welcome().servant, 0});
    if (result.size() < 4000 && random_() % 4 != 0) {
      (void)peer.send(head, {}, result);
      return;
    }
    for (std::size_t at = 0; at < result.size() && !peer.closed();) {
      const std::size_t bytes = std::min<std::size_t>(result.size() - at, 1 + random_() % 8000);
      if (!peer.fragment(head, at, result.size(), std::span(result).subspan(at, bytes))) {
        return;
      }
      at += bytes;
    }
  }

  /// Random words where the broker looks. Where an id stands they name no request: half of an id is
  /// its generation.
  void lie(RawPeer& peer) {
    const std::uint64_t word = random_() % 2 == 0 ? random_() : random_() % 100'000;
    shm::FrameHeader head;
    head.frame_bytes = static_cast<std::uint32_t>(random_() % 5000);
    head.kind = static_cast<shm::Kind>(random_() % 9);
    head.flags = static_cast<std::uint8_t>(random_());
    head.ext_bytes = static_cast<std::uint16_t>(random_() % 4 == 0 ? random_() : 0);
    switch (random_() % 5) {
      case 0:
        peer.front().consumer_pos.store(word, std::memory_order_relaxed);
        break;
      case 1:
        peer.front().polled.store(static_cast<std::uint32_t>(word), std::memory_order_relaxed);
        break;
      case 2:
        peer.put_word(peer.out().position(), word);
        break;
      case 3:
        peer.put_word(peer.out().position(), shm::commit_word(head));
        break;
      default:
        peer.put_word(random_() % peer.welcome().to_broker_ring_bytes & ~std::uint64_t{7}, word);
        break;
    }
    (void)shm::send_byte(peer.socket());
  }

  VictimOptions options_;
  shm::Role role_;
  bool hostile_;
  std::mt19937_64 random_;
  std::uint64_t id_ = 0;
  std::uint64_t large_ = 0;  ///< The request that was begun, and not ended.
  std::size_t call_bytes_ = echo_call_bytes();
  std::map<std::uint64_t, Bytes> held_;
  shm::Assembler flows_{kMessageBytesMax};
};

}  // namespace

int run_victim(const std::string& role, const VictimOptions& options) {
  if (role == "client" || role == "hostile-client") {
    Victim(options, shm::Role::client, role != "client").run();
  }
  if (role == "servant" || role == "hostile-servant") {
    Victim(options, shm::Role::servant, role != "servant").run();
  }
  return 2;
}

}  // namespace mserve::test
