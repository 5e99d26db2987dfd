// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/shm/frame.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/ring.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "support/broker_process.hpp"

namespace mserve::test {

using Bytes = std::vector<std::byte>;

[[nodiscard]] Bytes bytes_of(std::string_view text);
/// `count` bytes that differ with place and seed.
[[nodiscard]] Bytes pattern(std::size_t count, std::uint32_t seed = 1);

/// A frame, copied out of the ring.
struct Frame {
  shm::FrameHeader header;
  shm::Extensions extensions;
  Bytes payload;
};

/// What a peer has done of its attach; see RawSetup::at.
enum class AttachStep : std::uint8_t {
  connected,   ///< Nothing was said yet.
  said_hello,  ///< The broker may be making the session.
  welcomed,    ///< Both descriptors are here, nothing is mapped.
  mapped,      ///< Mapped, but the broker was not told.
};

/// How a raw peer attaches.
struct RawSetup {
  shm::Role role = shm::Role::client;
  std::string name = "raw";
  std::uint32_t credit = 1;
  std::uint32_t ring_bytes = 0;
  std::string tags{};                    ///< Of a servant.
  std::function<void(AttachStep)> at{};  ///< Called behind each step, if there is one.
};

/// A peer made by hand from shm/README.md, for tests that decide themselves when it reads, answers,
/// lies or dies: nothing happens behind their back, and every byte that the peer may write can be
/// reached. It never sleeps on anything; it looks.
class RawPeer {
 public:
  /// Does the whole handshake; throws when the broker refuses.
  RawPeer(const Broker& broker, const RawSetup& setup);
  /// The same, of a broker that somebody else started.
  RawPeer(const std::string& directory, const std::string& name, const RawSetup& setup);

  /// Commits one frame, waiting for room, and wakes the broker. @return false after the watchdog.
  bool send(const shm::FrameHeader& head, std::span<const std::byte> extensions,
            std::span<const std::byte> payload);
  /// Commits one frame if there is room now.
  bool try_send(const shm::FrameHeader& head, std::span<const std::byte> extensions,
                std::span<const std::byte> payload);
  /// Client: a request, as one frame.
  bool request(std::uint64_t id, std::span<const std::byte> payload,
               std::uint8_t flags = shm::kFlagOpaque, std::uint64_t route = 0);
  /// Servant: the answer to a request, as one frame.
  bool reply(std::uint64_t id, std::span<const std::byte> payload, std::uint16_t status = 0);
  /// One fragment of a flow.
  bool fragment(shm::FrameHeader head, std::uint64_t offset, std::uint64_t total,
                std::span<const std::byte> payload);
  /// Client: one frame on the control ring.
  bool send_control(const shm::FrameHeader& head);

  /// The next frame, released at once; nothing when none is there.
  [[nodiscard]] std::optional<Frame> poll();
  /// The same, waiting; a test failure after the watchdog or when the session is closed meanwhile.
  [[nodiscard]] std::optional<Frame> take();

  /// Waits until the broker has closed the session. @return why; disconnected when it gave no
  /// reason.
  [[nodiscard]] shm::Closing wait_closed();
  /// Looks at the socket. @return true when the session is over.
  [[nodiscard]] bool closed();

  /// Ends the session as a dead process does.
  void vanish();
  void wake_broker();

  [[nodiscard]] const shm::Welcome& welcome() const noexcept { return welcome_; }
  /// Our own segment: everything that this peer can lie with.
  [[nodiscard]] shm::SegmentFront& front() noexcept { return *own_.front(); }
  /// The broker's, which is mapped to be read only.
  [[nodiscard]] const shm::SegmentFront& broker_front() const noexcept { return *broker_.front(); }
  [[nodiscard]] std::span<std::byte> ring() noexcept {
    return {own_.ring(), welcome_.to_broker_ring_bytes};
  }
  [[nodiscard]] std::span<std::byte> control_ring() noexcept {
    return {own_.ring() + welcome_.to_broker_ring_bytes, welcome_.control_bytes};
  }
  /// Stores a commit word (or any word) at a cursor of our ring.
  void put_word(std::uint64_t pos, std::uint64_t word);
  [[nodiscard]] shm::RingProducer& out() noexcept { return out_; }
  [[nodiscard]] shm::RingConsumer& in() noexcept { return in_; }
  [[nodiscard]] int socket() const noexcept { return socket_.get(); }

 private:
  shm::UniqueFd socket_;
  shm::Welcome welcome_;
  shm::Mapping own_;
  shm::Mapping broker_;
  shm::RingProducer out_;
  shm::RingProducer control_;
  shm::RingConsumer in_;
  std::optional<shm::Closing> closing_;
};

[[nodiscard]] RawPeer raw_client(const Broker& broker, std::uint32_t ring_bytes = 0);
[[nodiscard]] RawPeer raw_servant(const Broker& broker, const std::string& name,
                                  std::uint32_t credit = 1);

}  // namespace mserve::test
