// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "mserve/shm/layout.hpp"

namespace mserve::shm {

// One record in a ring: a 24-byte header, extensions, payload. The first eight bytes are the commit
// word: while they are zero the frame does not exist. Normative text: shm/README.md.

/// What a frame is. 0 is never a kind: a zero commit word means "nothing here yet".
enum class Kind : std::uint8_t {
  request = 1,  ///< id: the sender's; aux: route hash.
  reply = 2,    ///< id: as in the request; aux: ReplyAux.
  padding = 3,  ///< Fills the ring up to its end; no id, no aux.
  abort = 4,    ///< Ends a partial flow of this id on this hop; aux: Errc.
  cancel = 5,   ///< Control ring: the answer of this id is no longer wanted. A gateway gets one
                ///< all the same: `cancelled`, unless the servant's has begun. Towards a servant:
                ///< nobody waits for this request; it may stop it, and answers it as ever.
  window = 6,   ///< Control ring: aux = more flow bytes that the origin may be sent. Towards a
                ///< gateway: id = its request; aux = more payload bytes of it that it may send.
  gone = 7,  ///< Control ring of a gateway: this origin left. Towards a gateway: the broker closed
             ///< it; aux: Errc. Always with an origin extension.
};

/// Bits of FrameHeader::flags.
inline constexpr std::uint8_t kFlagOpaque = 1U << 0;    ///< Payload is not a kdb+ object.
inline constexpr std::uint8_t kFlagWantInfo = 1U << 1;  ///< Request: answer with a kExtInfo.
inline constexpr std::uint8_t kFlagRepeatable =
    1U << 2;  ///< Request: may be run again if its servant dies.
/// Payload is two kdb+ objects, one behind the other. Request: the query and the client's options
/// dictionary. Reply: the result and the servant's own info dictionary.
inline constexpr std::uint8_t kFlagPair = 1U << 3;
/// Request of a broker's own gateway, with kFlagPair: `user` and `role` in the options are what the
/// gateway knows of who asks. Of anybody else it means nothing, and servants are not told.
inline constexpr std::uint8_t kFlagVouched = 1U << 4;

/// The header as it lies in memory. frame_bytes counts header, extensions and payload exactly; the
/// next frame starts at the next cache line.
struct FrameHeader {
  std::uint32_t frame_bytes = 0;
  Kind kind = Kind::request;
  std::uint8_t flags = 0;
  std::uint16_t ext_bytes = 0;  ///< Multiple of 8.
  std::uint64_t id = 0;
  std::uint64_t aux = 0;

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(std::is_trivially_copyable_v<FrameHeader> && sizeof(FrameHeader) == 24);
static_assert(offsetof(FrameHeader, frame_bytes) == 0 && offsetof(FrameHeader, kind) == 4);
static_assert(offsetof(FrameHeader, flags) == 5 && offsetof(FrameHeader, ext_bytes) == 6);
static_assert(offsetof(FrameHeader, id) == 8 && offsetof(FrameHeader, aux) == 16);

inline constexpr std::uint32_t kFrameHeaderBytes = sizeof(FrameHeader);

/// The commit word of a header, and back.
[[nodiscard]] constexpr std::uint64_t commit_word(const FrameHeader& h) noexcept {
  return std::uint64_t{h.frame_bytes} | (std::uint64_t{static_cast<std::uint8_t>(h.kind)} << 32) |
         (std::uint64_t{h.flags} << 40) | (std::uint64_t{h.ext_bytes} << 48);
}
[[nodiscard]] constexpr FrameHeader from_commit_word(std::uint64_t word) noexcept {
  FrameHeader h;
  h.frame_bytes = static_cast<std::uint32_t>(word);
  h.kind = static_cast<Kind>(static_cast<std::uint8_t>(word >> 32));
  h.flags = static_cast<std::uint8_t>(word >> 40);
  h.ext_bytes = static_cast<std::uint16_t>(word >> 48);
  return h;
}

/// Bytes a frame takes in the ring: up to the next cache line.
[[nodiscard]] constexpr std::uint64_t frame_stride(std::uint64_t frame_bytes) noexcept {
  return (frame_bytes + kCacheLine - 1) & ~std::uint64_t{kCacheLine - 1};
}

/// Reply aux: who answered, and how. status is an Errc; 0 is success, `failed` an error object. A
/// servant's is one of these two. One tagged `peer=...` may also say `busy`, `no_servant`,
/// `queue_timeout` or `shutdown`, with an error object, of what was not begun and never will be
/// there: brokers that know this try somebody else, all others take it for `failed`.
struct ReplyAux {
  std::uint32_t servant = 0;  ///< Number, as in the info, of the servant that ran it, also where
                              ///< the broker itself answers; 0: none had it.
  std::uint16_t status = 0;
};
[[nodiscard]] constexpr std::uint64_t pack(ReplyAux a) noexcept {
  return std::uint64_t{a.servant} | (std::uint64_t{a.status} << 32);
}
[[nodiscard]] constexpr ReplyAux unpack_reply(std::uint64_t aux) noexcept {
  return {static_cast<std::uint32_t>(aux), static_cast<std::uint16_t>(aux >> 32)};
}

/// Types of extensions; unknown ones are skipped by whoever does not know them.
enum class ExtType : std::uint16_t {
  origin = 1,  ///< small = origin index; value = generation (u64). Absent: origin 0.
  flow = 2,    ///< FlowExt: this frame is one fragment of a larger message.
  info = 3,    ///< InfoExt: what the broker knows of a finished request (reply, on request).
  /// DeadlineExt: how long a request may take (request; its first frame). Towards a servant tagged
  /// `peer` what is left of that, on every request: small = its priority, plus 1, and
  /// kDeadlineVouched.
  deadline = 4,
  /// PlacementExt: what the broker's rules may ask about a request (request; its first frame).
  /// small = its priority, 0 to 3, plus 1 (0: the default), and kPlacementHere.
  placement = 5,
  /// One request of a broadcast: small = index of the servant's session, value = BroadcastExt. From
  /// gateways only (request; its first frame).
  broadcast = 6,
};

/// Head of one extension; `bytes` counts header and value and is a multiple of 8, at least 8.
struct ExtHeader {
  ExtType type;
  std::uint16_t bytes;
  std::uint32_t small;
};
static_assert(std::is_trivially_copyable_v<ExtHeader> && sizeof(ExtHeader) == 8);

/// Where a fragment belongs. Offsets start at 0 and leave no gap; the last one reaches total_bytes.
struct FlowExt {
  std::uint64_t offset = 0;
  std::uint64_t total_bytes = 0;
};
static_assert(std::is_trivially_copyable_v<FlowExt> && sizeof(FlowExt) == 16);

/// The broker's part of the info dictionary, in nanoseconds and counts.
struct InfoExt {
  std::uint64_t elapsed_ns = 0;  ///< From the request's arrival at the broker to its answer there.
  std::uint64_t execution_ns = 0;  ///< From its dispatch to its answer.
  std::uint32_t backlog = 0;       ///< Requests queued or running when it arrived.
  std::uint32_t remaining = 0;     ///< Requests queued or running when it was answered.
  char servant[32] = {};           ///< Name of the servant, NUL-terminated.
};
static_assert(std::is_trivially_copyable_v<InfoExt> && sizeof(InfoExt) == 56);

/// How long a request may wait for a servant and then run, in nanoseconds; 0: as the broker says,
/// which is also the most it allows (--queue-timeout, --timeout).
struct DeadlineExt {
  std::uint64_t queue_ns = 0;
  std::uint64_t run_ns = 0;
  [[nodiscard]] bool empty() const noexcept { return queue_ns == 0 && run_ns == 0; }
};
static_assert(std::is_trivially_copyable_v<DeadlineExt> && sizeof(DeadlineExt) == 16);

/// Hashes of the function that a request calls and of the user who asks, as those of the routes by
/// `fn` and `user`; 0: nobody knows. Hints, as the route is: they say where a request runs, never
/// whether it may.
struct PlacementExt {
  std::uint64_t function = 0;
  std::uint64_t user = 0;
};
static_assert(std::is_trivially_copyable_v<PlacementExt> && sizeof(PlacementExt) == 16);

/// A request for one servant, which is one of `count` that make a broadcast. From the first of them
/// on none of their servants runs anything else, until all of them are over. The gateway sends them
/// all, and does not begin another broadcast before.
struct BroadcastExt {
  std::uint64_t count = 0;  ///< 0: it is no broadcast.
};
static_assert(std::is_trivially_copyable_v<BroadcastExt> && sizeof(BroadcastExt) == 8);

/// Beside the priority of ExtType::placement: it is not to leave this broker, so no servant tagged
/// `peer` runs it.
inline constexpr std::uint32_t kPlacementHere = 0x100;
/// Beside the priority of ExtType::deadline: the broker answers for the `user` and `role` in the
/// options of this request. Otherwise they are what a client says.
inline constexpr std::uint32_t kDeadlineVouched = 0x100;
/// The priority in these words, plus 1; 0: the default.
inline constexpr std::uint32_t kPriorityMask = 0xff;

/// Priority of a request that names none; the highest is 3.
inline constexpr std::uint8_t kPriorityDefault = 1;
inline constexpr std::uint8_t kPriorityMax = 3;

/// All extensions of a frame that this version knows, parsed once into locals.
struct Extensions {
  bool has_origin = false;
  bool has_flow = false;
  bool has_info = false;
  std::uint32_t origin_index = 0;
  std::uint64_t origin_generation = 0;
  FlowExt flow;
  InfoExt info;
  DeadlineExt deadline;
  PlacementExt placement;
  std::uint8_t priority = kPriorityDefault;
  bool here = false;     ///< kPlacementHere.
  bool vouched = false;  ///< kDeadlineVouched.
  BroadcastExt broadcast;
  std::uint32_t broadcast_to = 0;  ///< Index of the servant's session.

  /// Takes the priority out of an extension's `small`, if there is one.
  void take_priority(std::uint32_t small) noexcept {
    if (const std::uint32_t asked = small & kPriorityMask; asked != 0) {
      const std::uint32_t most = kPriorityMax;
      priority = static_cast<std::uint8_t>(asked - 1 < most ? asked - 1 : most);
    }
  }
};

/// Parses `bytes` (ext_bytes of a frame). Bounded by its length; each byte is read at most once.
/// @return false when an extension's length lies; the session must then be poisoned.
[[nodiscard]] inline bool parse_extensions(std::span<const std::byte> bytes,
                                           Extensions& out) noexcept {
  while (!bytes.empty()) {
    ExtHeader header;
    if (bytes.size() < sizeof(header)) {
      return false;
    }
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.bytes < sizeof(header) || header.bytes % 8 != 0 || header.bytes > bytes.size()) {
      return false;
    }
    const std::byte* value = bytes.data() + sizeof(header);
    const std::size_t value_bytes = header.bytes - sizeof(header);
    if (header.type == ExtType::flow) {
      if (value_bytes < sizeof(FlowExt)) {
        return false;
      }
      std::memcpy(&out.flow, value, sizeof(FlowExt));
      out.has_flow = true;
    } else if (header.type == ExtType::origin) {
      if (value_bytes < sizeof(std::uint64_t)) {
        return false;
      }
      std::memcpy(&out.origin_generation, value, sizeof(std::uint64_t));
      out.origin_index = header.small;
      out.has_origin = true;
    } else if (header.type == ExtType::info) {
      if (value_bytes < sizeof(InfoExt)) {
        return false;
      }
      std::memcpy(&out.info, value, sizeof(InfoExt));
      out.info.servant[sizeof(out.info.servant) - 1] = '\0';
      out.has_info = true;
    } else if (header.type == ExtType::deadline) {
      if (value_bytes < sizeof(DeadlineExt)) {
        return false;
      }
      std::memcpy(&out.deadline, value, sizeof(DeadlineExt));
      out.take_priority(header.small);
      out.vouched = (header.small & kDeadlineVouched) != 0;
    } else if (header.type == ExtType::placement) {
      if (value_bytes < sizeof(PlacementExt)) {
        return false;
      }
      std::memcpy(&out.placement, value, sizeof(PlacementExt));
      out.take_priority(header.small);
      out.here = (header.small & kPlacementHere) != 0;
    } else if (header.type == ExtType::broadcast) {
      if (value_bytes < sizeof(BroadcastExt)) {
        return false;
      }
      std::memcpy(&out.broadcast, value, sizeof(BroadcastExt));
      out.broadcast_to = header.small;
    }
    bytes = bytes.subspan(header.bytes);
  }
  return true;
}

/// Bytes that one extension with a value of `value_bytes` (a multiple of 8) takes.
[[nodiscard]] constexpr std::uint16_t ext_bytes_of(std::size_t value_bytes) noexcept {
  return static_cast<std::uint16_t>(sizeof(ExtHeader) + value_bytes);
}

/// Writes one extension at `to` and returns the first byte behind it.
template <class T>
requires(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0)
    [[nodiscard]] inline std::byte* put_extension(std::byte* to, ExtType type, std::uint32_t small,
                                                  const T& value) noexcept {
  const ExtHeader header{type, ext_bytes_of(sizeof(T)), small};
  std::memcpy(to, &header, sizeof(header));
  std::memcpy(to + sizeof(header), &value, sizeof(T));
  return to + header.bytes;
}

/// What a request may ask of the broker beside being run; goes with its first frame.
struct RequestTerms {
  DeadlineExt deadline;
  PlacementExt placement;
  std::uint8_t priority = kPriorityDefault;
  BroadcastExt broadcast;
  std::uint32_t broadcast_to = 0;
  bool here = false;  ///< kPlacementHere.

  static constexpr std::size_t kBytesMax = ext_bytes_of(sizeof(DeadlineExt)) +
                                           ext_bytes_of(sizeof(PlacementExt)) +
                                           ext_bytes_of(sizeof(BroadcastExt));

  [[nodiscard]] bool empty() const noexcept {
    return deadline.empty() && !has_placement() && broadcast.count == 0;
  }
  /// Writes what is not the default, at most kBytesMax bytes, and returns the first byte behind it.
  [[nodiscard]] std::byte* put(std::byte* to) const noexcept {
    if (!deadline.empty()) {
      to = put_extension(to, ExtType::deadline, 0, deadline);
    }
    if (has_placement()) {
      to = put_extension(to, ExtType::placement, (priority + 1U) | (here ? kPlacementHere : 0U),
                         placement);
    }
    if (broadcast.count != 0) {
      to = put_extension(to, ExtType::broadcast, broadcast_to, broadcast);
    }
    return to;
  }

 private:
  [[nodiscard]] bool has_placement() const noexcept {
    return placement.function != 0 || placement.user != 0 || priority != kPriorityDefault || here;
  }
};

}  // namespace mserve::shm
