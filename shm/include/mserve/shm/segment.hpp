// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/layout.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {

// One segment is one memfd with one writing side. Life of the two segments of a session:
//
//   broker -> peer   create, write_header, map read_write, seal_writes, send the descriptor
//   peer -> broker   create, write_header, send the descriptor; the peer maps it read_write and
//                    acknowledges; seal_writes, map read_only, drop the descriptor
//
// Size seals come with the creation, so nobody can truncate a segment under a reader (SIGBUS).
// After seal_writes() nobody, root included, gets another writable mapping, and write(), hole
// punching and MADV_REMOVE are refused; the writable mapping that exists goes on working. The
// receiving peer runs Segment::check() before it maps.

/// Largest control ring that a segment may hold, in bytes.
inline constexpr std::uint32_t kControlRingBytesMax = 64U << 10;

/// Cap on the size of one segment, in bytes: the largest two rings that the layout can describe. A
/// memfd has no limit of its own and can take the machine down.
inline constexpr std::uint64_t kSegmentBytesMax =
    segment_bytes(kRingBytesMax, kControlRingBytesMax);

enum class Access : std::uint8_t { read_only, read_write };

struct MapOptions {
  bool prefault = true;  ///< Touch every page now instead of at the first message.
  bool lock = false;     ///< mlock; a refusal is told by Mapping::lock_errno(), not an error.
};

/// A piece of shared memory mapped into this process; unmapped by the destructor. Never inherited
/// by a forked child (MADV_DONTFORK). Move-only. Threads: const calls from any, moves from one.
class Mapping {
 public:
  /// Maps the first `bytes` bytes of `fd`, which may be closed afterwards. Blocks while it
  /// prefaults.
  ///
  /// @param bytes  1..size of the object; the caller checked the size (Segment::check()).
  /// @return the mapping, or `invalid` (no bytes), `no_memory` (prefault failed; the machine or the
  ///         control group is out of memory), `os` (for example EPERM: sealed against writing).
  [[nodiscard]] static Result<Mapping> map(int fd, std::uint64_t bytes, Access access,
                                           MapOptions options = {});

  /// Holds nothing; data() is null.
  Mapping() noexcept;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  /// First byte, page-aligned; null when nothing is mapped. Storing through a read-only mapping
  /// faults: only the owner of a segment stores, see layout.hpp.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Bytes mapped.
  [[nodiscard]] std::uint64_t size() const noexcept { return bytes_; }
  /// The segment's first page; null if fewer than sizeof(SegmentFront) bytes are mapped.
  [[nodiscard]] SegmentFront* front() const noexcept {
    return bytes_ >= sizeof(SegmentFront) ? reinterpret_cast<SegmentFront*>(data_) : nullptr;
  }
  /// The ring's first byte; null if the segment holds none.
  [[nodiscard]] std::byte* ring() const noexcept {
    return bytes_ > kSegmentDataOffset ? data_ + kSegmentDataOffset : nullptr;
  }
  /// 0, or why mlock was refused (usually the memlock limit: raise `ulimit -l`).
  [[nodiscard]] int lock_errno() const noexcept { return lock_errno_; }

 private:
  struct Region;
  std::unique_ptr<Region> region_;
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
  int lock_errno_ = 0;
};

/// One memfd, as its creator holds it.
class Segment {
 public:
  /// Creates a memfd of `bytes` zero bytes, CLOEXEC, not executable where the kernel can say so,
  /// sealed against shrinking and growing.
  ///
  /// @param name   shown in /proc/PID/maps and fd; up to 200 bytes; NUL-terminated.
  /// @param bytes  a multiple of kPageBytes, kPageBytes..kSegmentBytesMax.
  /// @return `invalid` (bytes out of range: ask for smaller rings), `no_memory` (descriptors or
  ///         memory run out: raise RLIMIT_NOFILE), `os`.
  [[nodiscard]] static Result<Segment> create(const char* name, std::uint64_t bytes);

  /// Holds nothing.
  Segment() noexcept = default;

  /// Writes the header; only before seal_writes(). @return code ok or `os`.
  Error write_header(const SegmentHeader& header) noexcept;

  /// Forbids every further writable mapping, write, hole and seal. Mappings that exist stay.
  /// @return code ok; `os` (EPERM: sealed already); `bad_segment` when the kernel did not keep it.
  Error seal_writes() noexcept;

  /// Maps all of it; see Mapping::map().
  [[nodiscard]] Result<Mapping> map(Access access, MapOptions options = {}) const {
    return Mapping::map(fd_.get(), bytes_, access, options);
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return bytes_; }
  /// Gives the descriptor up, for example once everybody has mapped it.
  [[nodiscard]] UniqueFd take_fd() noexcept { return std::move(fd_); }

  /// For whoever received `fd`: is it a memfd of exactly this size that can never change its size,
  /// with a sane header? Only then is it safe to map.
  ///
  /// @param expected_bytes  what the rendezvous promises, 1..kSegmentBytesMax.
  /// @return a private copy of the header, to be compared with the Welcome; or `bad_segment`,
  ///         `version_mismatch` (layout major), `os`: close the session.
  [[nodiscard]] static Result<SegmentHeader> check(int fd, std::uint64_t expected_bytes) noexcept;

 private:
  Segment(UniqueFd fd, std::uint64_t bytes) noexcept : fd_(std::move(fd)), bytes_(bytes) {}

  UniqueFd fd_;
  std::uint64_t bytes_ = 0;
};

/// A header as the broker writes it, with magic, versions and sizes filled in.
/// @param control_bytes  0 for a segment without a control ring.
[[nodiscard]] SegmentHeader make_segment_header(std::uint64_t session, std::uint64_t broker_epoch,
                                                std::uint32_t ring_bytes,
                                                std::uint32_t control_bytes) noexcept;

}  // namespace mserve::shm
