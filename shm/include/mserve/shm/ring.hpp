// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"
#include "mserve/shm/layout.hpp"

namespace mserve::shm {

// Single-producer single-consumer byte ring, living in shared memory; frames announce themselves.
//   Shape     capacity a power of two; a frame starts on a cache line and never wraps (padding
//   frame
//             instead); a frame takes at most a quarter of the ring
//   Roles     one producer, one consumer, each bound for life by a session generation
//   Progress  every call wait-free: bounded steps, no system call, no allocation
//   Edges     E1 publish   commit word:  commit()  store release -> front()     load acquire
//             E2 reclaim   consumer_pos: publish() store release -> try_claim() load acquire
//   Invariant I1 producer_pos - consumer_pos <= capacity - 2 lines   I2 each word has one storing
//   side
//             I3 the commit words at producer_pos and one line beyond are zero
//   Crash     dying after claim, before commit, leaves nothing visible; front without release
//   re-delivers Trust     the peer's words are input: read once, checked, a lie poisons the session
//
// Why I3 needs two lines: the line at producer_pos is what the consumer polls; the one beyond is
// what it polls after a frame of a single line, and it is zeroed after the previous commit, so that
// the short frames on which latency depends pay for no zeroing before theirs. A longer frame zeroes
// its own end before it commits. Without any of this, payload of an earlier lap could pose as a
// frame.

/// Room that a claim leaves free behind its frame: the two lines of I3.
inline constexpr std::uint64_t kRingReserveBytes = 2 * kCacheLine;

/// Largest frame (header, extensions, payload) that a ring of this capacity takes, in bytes.
[[nodiscard]] constexpr std::uint32_t frame_bytes_max(std::uint64_t capacity) noexcept {
  return static_cast<std::uint32_t>(capacity / 4);
}

/// What both roles need to know of a ring. All of it comes from the rendezvous, nothing is read
/// from the segment. The memory outlives the roles.
template <template <class> class Atom>
struct BasicRingMemory {
  std::byte* data = nullptr;   ///< Cache-line aligned; the consumer never stores to it.
  std::uint64_t capacity = 0;  ///< Bytes, a power of two, kRingBytesMin..kRingBytesMax.
  std::uint64_t start = 0;     ///< First cursor of both sides, a multiple of the line.
  Atom<std::uint64_t>* producer_pos = nullptr;  ///< For observers; null for a control ring.
  Atom<std::uint64_t>* consumer_pos = nullptr;  ///< In the consumer's segment.
  Atom<std::uint32_t>* polled = nullptr;        ///< In the consumer's segment; see Polled.
};

/// The producing end. One thread at a time. It holds the cursors, so a copy would be a second
/// producer: move-only, and what was moved from must not be used.
template <template <class> class Atom>
class BasicRingProducer {
 public:
  BasicRingProducer() = default;
  explicit BasicRingProducer(const BasicRingMemory<Atom>& memory,
                             bool seq_cst_wakes = false) noexcept
      : memory_(memory),
        mask_(memory.capacity - 1),
        producer_pos_(memory.start),
        consumer_pos_seen_(memory.start),
        retain_pos_(memory.start),
        seq_cst_wakes_(seq_cst_wakes) {
    clear_commit_word(producer_pos_);
    clear_commit_word(producer_pos_ + kCacheLine);
  }
  BasicRingProducer(BasicRingProducer&&) noexcept = default;
  BasicRingProducer& operator=(BasicRingProducer&&) noexcept = default;

  /// Reserves memory for one frame. Nothing is visible until commit(); a second claim before that
  /// replaces the first.
  ///
  /// hot: no shared load while there is room by the private copy of the consumer's cursor.
  /// @param frame_bytes  kFrameHeaderBytes..frame_bytes_max(capacity).
  /// @return cache-line aligned memory whose first kFrameHeaderBytes belong to commit(); the caller
  ///         writes extensions and payload behind them. nullptr: full (or poisoned(), or too
  ///         large): nothing happened; drain what you receive and retry.
  [[nodiscard, gnu::always_inline]] std::byte* try_claim(std::uint64_t frame_bytes) noexcept {
    if (frame_bytes > frame_bytes_max(memory_.capacity)) [[unlikely]] {
      return nullptr;
    }
    const std::uint64_t stride = frame_stride(frame_bytes);
    const std::uint64_t at = producer_pos_ & mask_;
    const std::uint64_t to_end = memory_.capacity - at;
    const bool wraps = stride > to_end;
    const std::uint64_t padding = wraps ? to_end : 0;
    if (!has_room(padding + stride + kRingReserveBytes)) [[unlikely]] {
      return nullptr;
    }
    claimed_pos_ = producer_pos_ + padding;
    if (wraps) [[unlikely]] {
      return memory_.data;
    }
    // What is written into a claim of several lines may end up behind a shorter frame, if the claim
    // is replaced or committed short: then I3 has to be made true again.
    if (stride > kCacheLine) {
      dirtied_ = true;
    }
    return memory_.data + at;
  }

  /// Publishes the claimed frame (edge E1). `header.frame_bytes` must not exceed what was claimed.
  ///
  /// hot: one release store; the zeroing for I3 comes after it.
  [[gnu::always_inline]] void commit(const FrameHeader& header) noexcept {
    const std::uint64_t end = claimed_pos_ + frame_stride(header.frame_bytes);
    // A frame of one line ends where I3 already holds, unless it was moved to offset 0.
    if (end != producer_pos_ + kCacheLine || dirtied_) [[unlikely]] {
      clear_commit_word(end);
      dirtied_ = false;
    }
    // All addresses first: for all that the compiler knows each store below may change a member.
    std::byte* const frame = memory_.data + (claimed_pos_ & mask_);
    Atom<std::uint64_t>& reached = commit_word_at(producer_pos_);
    Atom<std::uint64_t>& beyond = commit_word_at(end + kCacheLine);
    Atom<std::uint64_t>* const observed = memory_.producer_pos;
    const std::uint64_t padding = claimed_pos_ - producer_pos_;
    const bool seq_cst = seq_cst_wakes_;
    producer_pos_ = end;
    std::memcpy(frame + 8, &header.id, 8);
    std::memcpy(frame + 16, &header.aux, 8);
    if (padding != 0) [[unlikely]] {
      // Wrapped: everything at offset 0 is in place before the padding frame makes it reachable.
      commit_word_at(claimed_pos_)
          .store(commit_word(header), std::memory_order_relaxed);  // E1 by the padding's store
      publish_word(reached, padding_word(padding), seq_cst);
    } else {
      publish_word(reached, commit_word(header), seq_cst);
    }
    if (observed != nullptr) {
      observed->store(end, std::memory_order_relaxed);  // observers only
    }
    beyond.store(0, std::memory_order_relaxed);  // I3, off the path; the next E1 orders it
  }

  /// True when the consumer said that it sleeps (or lies); the caller then wakes it. To be asked
  /// after commit(). One relaxed load of a line that rarely changes.
  [[nodiscard]] Polled consumer_polled() const noexcept {
    // The sleeping side pays for store-then-load order (parking.hpp); with the fallback both do.
    if (seq_cst_wakes_) [[unlikely]] {
      return static_cast<Polled>(memory_.polled->load(std::memory_order_seq_cst));  // fallback: P2
    }
    return static_cast<Polled>(
        memory_.polled->load(std::memory_order_relaxed));  // parking: C2 orders it
  }

  /// Cursor of the frame that commit() would publish next; with retain() and peek_at() the way to
  /// keep a frame readable after the consumer released it.
  [[nodiscard]] std::uint64_t position() const noexcept { return producer_pos_; }
  /// Cursor at which the claimed frame starts (behind a padding frame, if there is one).
  [[nodiscard]] std::uint64_t claimed_position() const noexcept { return claimed_pos_; }

  /// Bytes from `pos` on are not reused, whatever the consumer released, until the limit moves.
  /// Cursors only grow; pass position() to retain nothing.
  void retain(std::uint64_t pos) noexcept {
    retain_pos_ = pos;
    retaining_ = true;
  }
  void retain_nothing() noexcept { retaining_ = false; }

  /// Memory of a frame committed earlier at cursor `pos` and kept by retain(). The producer's own
  /// memory: the peer cannot change it.
  [[nodiscard]] const std::byte* peek_at(std::uint64_t pos) const noexcept {
    return memory_.data + (pos & mask_);
  }

  /// True when nothing committed is unread, by a fresh look at the consumer's cursor.
  [[nodiscard]] bool drained() noexcept {
    refresh();
    return consumer_pos_seen_ == producer_pos_;
  }
  /// Bytes committed and not yet given back, as far as the consumer published; a fresh look.
  [[nodiscard]] std::uint64_t unread() noexcept {
    refresh();
    return producer_pos_ - consumer_pos_seen_;
  }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return memory_.capacity; }

  /// True once the consumer published an impossible cursor; the session can only be closed.
  [[nodiscard]] bool poisoned() const noexcept { return poisoned_; }

 private:
  Atom<std::uint64_t>& commit_word_at(std::uint64_t pos) noexcept {
    // Cursors move only where data is set, which the analyzer cannot know.
    // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.UndefReturn)
    return *reinterpret_cast<Atom<std::uint64_t>*>(memory_.data + (pos & mask_));
  }
  void clear_commit_word(std::uint64_t pos) noexcept {
    commit_word_at(pos).store(0, std::memory_order_relaxed);  // ordered by the next E1
  }
  static void publish_word(Atom<std::uint64_t>& at, std::uint64_t word, bool seq_cst) noexcept {
    if (seq_cst) [[unlikely]] {
      at.store(word, std::memory_order_seq_cst);  // fallback: P1, and E1
    } else {
      at.store(word, std::memory_order_release);  // E1
      // Keeps the compiler, not the processor, from moving the following load of `polled` up.
      // lint-allow: volatile, because it orders nothing between threads and costs no instruction.
      std::atomic_signal_fence(std::memory_order_seq_cst);  // parking: P1 before P2
    }
  }
  static std::uint64_t padding_word(std::uint64_t bytes) noexcept {
    FrameHeader header;
    header.frame_bytes = static_cast<std::uint32_t>(bytes);
    header.kind = Kind::padding;
    return commit_word(header);
  }

  bool has_room(std::uint64_t wanted_bytes) noexcept {
    const std::uint64_t oldest = oldest_kept();
    if (wanted_bytes <= memory_.capacity - (producer_pos_ - oldest)) [[likely]] {
      return !poisoned_;
    }
    refresh();
    return !poisoned_ && wanted_bytes <= memory_.capacity - (producer_pos_ - oldest_kept());
  }
  [[nodiscard]] std::uint64_t oldest_kept() const noexcept {
    return retaining_ && producer_pos_ - retain_pos_ > producer_pos_ - consumer_pos_seen_
               ? retain_pos_
               : consumer_pos_seen_;
  }
  [[gnu::cold]] void refresh() noexcept {
    const std::uint64_t seen = memory_.consumer_pos->load(std::memory_order_acquire);  // E2
    // One unsigned compare rejects a cursor that went back or ran past what we committed.
    if (seen - consumer_pos_seen_ > producer_pos_ - consumer_pos_seen_ || seen % kCacheLine != 0) {
      poisoned_ = true;
      return;
    }
    consumer_pos_seen_ = seen;  // private copy: the shared line stays in its owner's cache
  }

  BasicRingMemory<Atom> memory_;
  std::uint64_t mask_ = 0;
  std::uint64_t producer_pos_ = 0;
  std::uint64_t claimed_pos_ = 0;
  std::uint64_t consumer_pos_seen_ = 0;
  std::uint64_t retain_pos_ = 0;
  bool retaining_ = false;
  bool dirtied_ = false;
  bool seq_cst_wakes_ = false;
  bool poisoned_ = false;
};

/// One frame as the consumer sees it. Header fields are checked local copies; `extensions` and
/// `payload` point into memory that a hostile producer may still change: copy before parsing.
struct FrameView {
  FrameHeader header;
  std::span<const std::byte> extensions;
  std::span<const std::byte> payload;
};

/// The consuming end. One thread at a time; move-only, for the same reason as the producer.
template <template <class> class Atom>
class BasicRingConsumer {
 public:
  BasicRingConsumer() = default;
  explicit BasicRingConsumer(const BasicRingMemory<Atom>& memory) noexcept
      : memory_(memory),
        mask_(memory.capacity - 1),
        consumer_pos_(memory.start),
        published_pos_(memory.start) {}
  BasicRingConsumer(BasicRingConsumer&&) noexcept = default;
  BasicRingConsumer& operator=(BasicRingConsumer&&) noexcept = default;

  /// True when a frame (or a lie) waits; publishes nothing. One acquire load.
  [[nodiscard]] bool ready() const noexcept {
    return commit_word_at(consumer_pos_).load(std::memory_order_acquire) != 0;  // E1
  }

  /// Where ready() looks, for who watches very many rings: nonzero (E1, so load acquire) once a
  /// frame or a lie waits. Good until front() or release() is called, or the memory goes.
  [[nodiscard]] const Atom<std::uint64_t>& next_word() const noexcept {
    return commit_word_at(consumer_pos_);
  }

  /// The last look before sleeping (C3 of parking.hpp).
  [[nodiscard]] bool ready_before_sleep(bool seq_cst_wakes) const noexcept {
    return seq_cst_wakes
               ? commit_word_at(consumer_pos_).load(std::memory_order_seq_cst) != 0  // fallback: C3
               : ready();
  }

  /// The next frame, again and again until release().
  ///
  /// hot: one acquire load when there is nothing, plus the header's line when there is.
  /// @return ok and `out` filled; `empty`; or `bad_frame`: the producer lied, poisoned() is now
  /// true.
  [[nodiscard, gnu::always_inline]] Errc front(FrameView& out) noexcept {
    std::uint64_t word = commit_word_at(consumer_pos_).load(std::memory_order_acquire);  // E1
    if (word == 0) {
      // Ran dry: let the producer see all the room there is, so that it never waits for a quarter.
      if (published_pos_ != consumer_pos_) {
        publish();
      }
      // Poisoned by a padding with nothing behind it: the ring stays so.
      return poisoned_ ? Errc::bad_frame : Errc::empty;
    }
    if (from_commit_word(word).kind == Kind::padding) [[unlikely]] {
      if (!skip_padding(from_commit_word(word))) {
        return poison();
      }
      word = commit_word_at(consumer_pos_).load(std::memory_order_acquire);  // E1
    }
    const FrameHeader header = from_commit_word(word);
    const std::uint64_t at = consumer_pos_ & mask_;
    if (!plausible(header) || frame_stride(header.frame_bytes) > memory_.capacity - at)
        [[unlikely]] {
      return poison();
    }
    const std::byte* const frame = memory_.data + at;
    stride_ = frame_stride(header.frame_bytes);
    // Where the next look goes: with many frames under way the next one is on its way here while
    // this one is handled.
    __builtin_prefetch(memory_.data + ((consumer_pos_ + stride_) & mask_));
    // Field by field: what was stored in pieces is not to be loaded as a whole right after (such a
    // load waits until the stores left the store buffer, behind those to the peer's lines).
    out.header.frame_bytes = header.frame_bytes;
    out.header.kind = header.kind;
    out.header.flags = header.flags;
    out.header.ext_bytes = header.ext_bytes;
    std::memcpy(&out.header.id, frame + 8, 8);
    std::memcpy(&out.header.aux, frame + 16, 8);
    out.extensions = {frame + kFrameHeaderBytes, header.ext_bytes};
    out.payload = {frame + kFrameHeaderBytes + header.ext_bytes,
                   header.frame_bytes - kFrameHeaderBytes - header.ext_bytes};
    return Errc::ok;
  }

  /// Gives the frame of the last successful front() back; its memory may be overwritten from the
  /// next publish on.
  void release() noexcept {
    consumer_pos_ += stride_;
    stride_ = 0;
    if (consumer_pos_ - published_pos_ >= memory_.capacity / 4) [[unlikely]] {
      publish();
    }
  }

  /// Tells the producer how far it may write (edge E2). front() and release() do it by themselves
  /// when the ring runs dry and each quarter ring.
  void publish() noexcept {
    memory_.consumer_pos->store(consumer_pos_, std::memory_order_release);  // E2
    published_pos_ = consumer_pos_;
  }

  [[nodiscard]] std::uint64_t position() const noexcept { return consumer_pos_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return memory_.capacity; }
  [[nodiscard]] bool poisoned() const noexcept { return poisoned_; }

 private:
  const Atom<std::uint64_t>& commit_word_at(std::uint64_t pos) const noexcept {
    return *reinterpret_cast<const Atom<std::uint64_t>*>(memory_.data + (pos & mask_));
  }
  [[nodiscard]] bool plausible(const FrameHeader& h) const noexcept {
    // Unsigned differences: what is below the least allowed becomes very large.
    const std::uint32_t kind = static_cast<std::uint32_t>(h.kind) - 1;
    const std::uint32_t body = h.frame_bytes - kFrameHeaderBytes;
    return !poisoned_ && h.kind != Kind::padding && kind < static_cast<std::uint32_t>(Kind::gone) &&
           body <= frame_bytes_max(memory_.capacity) - kFrameHeaderBytes && h.ext_bytes % 8 == 0 &&
           h.ext_bytes <= body;
  }
  /// A padding frame reaches exactly to the end of the ring and is shorter than the frame it makes
  /// room for; so there is at most one in a row.
  [[nodiscard, gnu::cold]] bool skip_padding(const FrameHeader& h) noexcept {
    const std::uint64_t to_end = memory_.capacity - (consumer_pos_ & mask_);
    if (poisoned_ || h.frame_bytes != to_end || to_end >= frame_bytes_max(memory_.capacity) ||
        h.flags != 0 || h.ext_bytes != 0) {
      return false;
    }
    consumer_pos_ += to_end;
    return true;
  }
  [[gnu::cold]] Errc poison() noexcept {
    poisoned_ = true;
    return Errc::bad_frame;
  }

  BasicRingMemory<Atom> memory_;
  std::uint64_t mask_ = 0;
  std::uint64_t consumer_pos_ = 0;
  std::uint64_t published_pos_ = 0;
  std::uint64_t stride_ = 0;
  bool poisoned_ = false;
};

template <class T>
using StdAtomic = std::atomic<T>;

using RingMemory = BasicRingMemory<StdAtomic>;
using RingProducer = BasicRingProducer<StdAtomic>;
using RingConsumer = BasicRingConsumer<StdAtomic>;

}  // namespace mserve::shm
