// SPDX-License-Identifier: Apache-2.0
// What a servant does with the two rings of its session: takes requests in, runs them one after the
// other, sends the replies. No socket, clock, thread or sleep: whoever owns the rings calls step()
// and waits in between.
//   Credit    a request holds a slot from its first fragment until the last byte of its reply is
//   committed;
//             a request beyond the credit is a breach by the broker
//   Waiting   a reply that finds no room stays pending, and every step takes in what arrived before
//   it tries again,
//             so two full rings cannot deadlock
//   Memory    slots and queue are made by attach(); a step allocates only for payloads larger than
//   any before
//             (up to kKeptBytes per slot are kept), for decoding, and in users' functions
//   Trust     each payload is copied out of the ring once and parsed from the copy
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/servant/invocation.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve::servant {

/// What one step came to.
enum class Progress : std::uint8_t {
  idle,     ///< Nothing to do.
  worked,   ///< Something was read, run or committed: call again at once (and wake the broker).
  blocked,  ///< A reply waits for room: call again soon.
  broken,   ///< The broker broke the protocol; see fault(). Only attach() ends this.
};

class Engine {
 public:
  /// What the session allows.
  struct Bounds {
    std::uint32_t servant = 0;            ///< Our number, stamped on replies.
    std::uint32_t credit = 1;             ///< 1..4096.
    std::uint64_t message_bytes_max = 0;  ///< Largest request or reply.
  };

  /// Both outlive the engine; an empty `opaque` refuses opaque requests.
  Engine(const Functions& functions, const OpaqueFunction& opaque) noexcept
      : functions_(functions), opaque_(opaque) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Forgets everything and starts on a new session. Allocates what a session needs.
  void attach(const Bounds& bounds);

  /// Takes in what arrived (bounded), then either runs the oldest complete request and sends its
  /// reply, or goes on with the reply that is pending: at most one function and one frame out per
  /// step.
  [[nodiscard]] Progress step(shm::RingProducer& out, shm::RingConsumer& in);

  /// As step(), but starts no further request: for an orderly end, and for those who hold()
  /// requests. idle once nothing is pending.
  [[nodiscard]] Progress finish(shm::RingProducer& out, shm::RingConsumer& in);

  /// A request that is answered by whoever took it.
  struct Held {
    std::size_t slot = 0;    ///< For answer().
    std::uint8_t flags = 0;  ///< As they stood in the request's head.
    std::vector<std::byte> payload{};
  };

  /// Takes the oldest complete request instead of running it, for answer(). It keeps its slot.
  /// @return nothing when there is none, or while a reply is under way: call finish(), then again.
  [[nodiscard]] std::optional<Held> hold();

  /// Starts the reply to a request that hold() gave in this session, once; finish() sends it. To be
  /// called while idle(). @param payload  at most `message_bytes_max`; must live until idle() again
  /// or the next attach(). @param spare  its memory serves the next request; may hold `payload`.
  void answer(std::size_t slot, std::span<const std::byte> payload, bool opaque, Errc status,
              std::vector<std::byte> spare);

  /// Whether no reply is under way.
  [[nodiscard]] bool idle() const noexcept { return replying_ == kNone; }
  [[nodiscard]] std::uint64_t message_bytes_max() const noexcept {
    return bounds_.message_bytes_max;
  }

  /// Why step() said broken.
  [[nodiscard]] Errc fault() const noexcept { return fault_; }

 private:
  enum class State : std::uint8_t { free, arriving, refused, ready, held };

  struct Slot {
    State state = State::free;
    std::uint8_t flags = 0;
    std::uint64_t id = 0;
    std::string refusal;  ///< Not empty: answered with this error, whatever arrives.
    std::vector<std::byte> payload;
  };

  static constexpr std::size_t kNone = ~std::size_t{0};
  /// A slot's buffer larger than this is given back after use.
  static constexpr std::size_t kKeptBytes = std::size_t{1} << 20;
  /// Frames taken per step, so that a flood cannot keep a reply from going out.
  static constexpr int kFramesPerStep = 64;

  bool drain(shm::RingConsumer& in, bool& read_any);
  Errc take(const shm::FrameView& frame);
  Errc take_request(const shm::FrameView& frame);
  Errc take_fragment(const shm::FrameView& frame, const shm::FlowExt& flow);
  void take_abort(std::uint64_t id) noexcept;
  std::size_t find_arriving(std::uint64_t id) const noexcept;
  std::size_t open_slot(const shm::FrameHeader& header) noexcept;
  void free_slot(std::size_t index) noexcept;
  void make_ready(std::size_t index) noexcept;

  std::size_t take_ready() noexcept;
  void start_next();
  static std::span<const std::byte> query_of(const Slot& slot) noexcept;
  kdb::Value run(Slot& slot, bool& opaque_reply);
  void prepare_reply(Slot& slot, kdb::Value result, bool opaque_reply);
  void start_reply(const Slot& slot, Errc status, bool opaque_reply) noexcept;
  Progress send(shm::RingProducer& out);
  bool send_value(shm::RingProducer& out);
  Progress broken(Errc fault) noexcept;

  const Functions& functions_;
  const OpaqueFunction& opaque_;
  Bounds bounds_;
  Errc fault_ = Errc::not_attached;

  std::vector<Slot> slots_;
  std::vector<std::size_t> free_;  ///< Free slots; the last used is on top, its memory still warm.
  std::vector<std::size_t>
      ready_;  ///< Complete requests in order of arrival: a circle of `credit` places.
  std::size_t ready_first_ = 0;
  std::size_t ready_count_ = 0;
  std::optional<shm::Assembler> assembler_;

  // The reply under way, if `replying_` is not kNone.
  std::size_t replying_ = kNone;
  shm::FrameHeader reply_header_;
  kdb::Value reply_value_;              ///< Encoded straight into the ring when it fits one frame,
  std::vector<std::byte> reply_bytes_;  ///< else into here; an opaque reply's bytes too.
  std::span<const std::byte>
      reply_view_;  ///< What is sent once it is encoded: those, or another's.
  std::size_t reply_size_ = 0;
  bool reply_encoded_ = false;
  std::optional<shm::FlowWriter> reply_flow_;
};

}  // namespace mserve::servant
