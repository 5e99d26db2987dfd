// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace mserve::shm {

// What lies where in a segment. Normative text: shm/README.md. Everything here is ABI: a changed
// byte changes kLayoutMajor or kLayoutMinor in the same commit.

inline constexpr std::size_t kCacheLine = 64;  ///< Frames start on one; commit words live on one.
inline constexpr std::size_t kCacheStride =
    128;  ///< One writer per stride (adjacent-line prefetch).
inline constexpr std::size_t kPageBytes = 4096;

inline constexpr std::uint64_t kSegmentMagic = 0x31746e676573736dULL;  // "mssegnt1", little endian
inline constexpr std::uint16_t kLayoutMajor = 1;
inline constexpr std::uint16_t kLayoutMinor = 0;

inline constexpr std::uint32_t kRingBytesMin = 4096;
inline constexpr std::uint32_t kRingBytesMax = 64U << 20;
inline constexpr std::uint32_t kControlRingBytes = 4096;

/// Written once by the broker before the descriptor travels. Receivers check it against what the
/// rendezvous told them and never use it afterwards.
struct SegmentHeader {
  std::uint64_t magic;
  std::uint16_t layout_major;
  std::uint16_t layout_minor;
  std::uint32_t header_bytes;   ///< Offset of the first ring byte: kSegmentDataOffset.
  std::uint64_t segment_bytes;  ///< Whole size, a multiple of the page size.
  std::uint64_t session;        ///< Session number (low 32 bits) and generation (high 32 bits).
  std::uint64_t broker_epoch;   ///< Differs between two lives of a broker of the same name.
  std::uint32_t ring_bytes;     ///< Capacity of the owner's ring, a power of two.
  std::uint32_t control_bytes;  ///< Capacity of the control ring behind it; 0 for none.
  std::uint8_t reserved[80];    ///< Zero.
};
static_assert(std::is_trivially_copyable_v<SegmentHeader> && sizeof(SegmentHeader) == 128);

/// Values of SegmentFront::polled.
enum class Polled : std::uint32_t {
  sleeping_on_socket = 0,  ///< After a commit, send one byte on the session socket.
  polling = 1,             ///< No wake needed.
  sleeping_on_futex = 2,   ///< After a commit, FUTEX_WAKE SegmentFront::sleep_word.
};

/// The first page of a segment. The *owner* is the side that maps it writable; only the owner
/// stores to any of these words, one word per stride.
struct SegmentFront {
  SegmentHeader header;
  alignas(kCacheStride) std::atomic<std::uint32_t> polled;                ///< Polled, as consumer.
  alignas(kCacheStride) std::atomic<std::uint64_t> consumer_pos;          ///< Of the other's ring.
  alignas(kCacheStride) std::atomic<std::uint64_t> control_consumer_pos;  ///< Of its control ring.
  alignas(
      kCacheStride) std::atomic<std::uint64_t> producer_pos;    ///< Of its own ring; for observers.
  alignas(kCacheStride) std::atomic<std::uint32_t> sleep_word;  ///< Futex of the owner.
};
static_assert(std::is_standard_layout_v<SegmentFront>);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint64_t>) == 8);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == 4);
static_assert(offsetof(SegmentFront, header) == 0 && offsetof(SegmentFront, polled) == 128);
static_assert(offsetof(SegmentFront, consumer_pos) == 256);
static_assert(offsetof(SegmentFront, control_consumer_pos) == 384);
static_assert(offsetof(SegmentFront, producer_pos) == 512);
static_assert(offsetof(SegmentFront, sleep_word) == 640);
static_assert(sizeof(SegmentFront) == 768 && sizeof(SegmentFront) <= kPageBytes);

inline constexpr std::uint32_t kSegmentDataOffset = kPageBytes;  ///< First byte of the ring.

/// Size of a segment with these two rings, in bytes; a multiple of the page size.
[[nodiscard]] constexpr std::uint64_t segment_bytes(std::uint32_t ring_bytes,
                                                    std::uint32_t control_bytes) noexcept {
  return std::uint64_t{kSegmentDataOffset} + ring_bytes + control_bytes;
}

/// First cursor of both rings of a session: coloured, so that the commit words of many sessions do
/// not compete for one set of the cache. A multiple of the cache line.
[[nodiscard]] constexpr std::uint64_t ring_start(std::uint32_t session) noexcept {
  return std::uint64_t{(session * 0x9e3779b1U) >> 24} * kCacheLine;
}

}  // namespace mserve::shm
