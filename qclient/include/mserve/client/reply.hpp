// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve {

/// How one request is sent.
struct SendOptions {
  std::uint64_t route =
      0;  ///< Hash of the route (kdb::route_of); 0: none. A hint for placement only.
  bool want_info = false;   ///< The answer carries Reply::info.
  bool repeatable = false;  ///< It may be run again if its servant dies while it runs.
  bool opaque = false;      ///< The payload is bytes of our own, not a kdb+ object. Not over TCP.
  /// The payload is two kdb+ objects, one behind the other: a query, and a dictionary of options
  /// for the servant (LBT's `(id; query; options)`). Servants made with the SDK ignore the options.
  bool pair = false;
  /// How long it may wait for a servant, in nanoseconds; then it completes with `queue_timeout` and
  /// did not run. 0: as long as the broker allows (--queue-timeout), which is also the most. Not
  /// over TCP.
  std::uint64_t queue_ns_max = 0;
  /// How long it may run until its answer begins; then it completes with `timed_out` and may still
  /// run. 0: as long as the broker allows (--timeout), which is also the most. Not over TCP.
  std::uint64_t run_ns_max = 0;
  /// 0 to 3: requests of a higher one wait less, but every priority has its share. Not over TCP.
  std::uint8_t priority = 1;
  /// For the broker's rules of placement (SessionInfo::placement): the hashes of the function's and
  /// the user's name, those of kdb::route_of() by `fn` and `user`; 0: nobody knows. Hints, as
  /// `route` is. Not over TCP.
  std::uint64_t function = 0;
  std::uint64_t user = 0;
};

/// One finished request.
struct Reply {
  std::uint64_t id = 0;  ///< What sending it returned.
  /// `ok`: the payload is the result. `failed`: the servant answered with an error, the payload is
  /// a kdb+ error object. Anything else comes from the broker or from this client and has no
  /// payload: `disconnected` (session lost, outcome unknown), `too_large` (the answer), `busy`,
  /// `no_servant`, `servant_died`, `shutdown`, `stalled`, `slow_reader`, ...; advice() says what to
  /// do.
  Errc status = Errc::ok;
  std::uint32_t servant = 0;  ///< Number of the servant that ran it; 0: none did, or over TCP.
  bool opaque = false;        ///< The payload is no kdb+ object.
  /// Borrowed; see the call that filled it for how long. The bytes may lie in memory that the
  /// broker can still change: copy them before you check and parse them, unless you trust the
  /// broker.
  std::span<const std::byte> payload;
  /// What the broker knows of it; only when it was asked for and the broker answered.
  std::optional<shm::InfoExt> info;
  /// An encoded dictionary that belongs to the info; empty when there is none. Borrowed like the
  /// payload. The servant's own (LBT's three-item answers); or, with `info_complete`, all that a
  /// gateway sent, in which `info` and the route are contained. answer_of() puts it together.
  std::span<const std::byte> info_object;
  bool info_complete = false;
};

/// A reply that owns its bytes. Move-only; Reply::payload and Reply::info_object stay valid as long
/// as it lives.
class OwnedReply {
 public:
  OwnedReply() = default;
  /// Copies payload and info_object.
  explicit OwnedReply(const Reply& reply) : reply_(reply) {
    bytes_.reserve(reply.payload.size() + reply.info_object.size());
    bytes_.insert(bytes_.end(), reply.payload.begin(), reply.payload.end());
    bytes_.insert(bytes_.end(), reply.info_object.begin(), reply.info_object.end());
    reply_.payload = std::span(bytes_).first(reply.payload.size());
    reply_.info_object = std::span(bytes_).subspan(reply.payload.size());
  }
  /// Takes over `bytes`, in which payload and info_object of `reply` lie.
  OwnedReply(const Reply& reply, std::vector<std::byte> bytes) noexcept
      : bytes_(std::move(bytes)), reply_(reply) {}
  /// What was moved from is empty.
  OwnedReply(OwnedReply&& other) noexcept
      : bytes_(std::move(other.bytes_)), reply_(std::exchange(other.reply_, Reply{})) {}
  OwnedReply& operator=(OwnedReply&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    reply_ = std::exchange(other.reply_, Reply{});
    return *this;
  }
  OwnedReply(const OwnedReply&) = delete;
  OwnedReply& operator=(const OwnedReply&) = delete;
  ~OwnedReply() = default;

  [[nodiscard]] const Reply& operator*() const noexcept { return reply_; }
  [[nodiscard]] const Reply* operator->() const noexcept { return &reply_; }

 private:
  std::vector<std::byte> bytes_;
  Reply reply_;
};

}  // namespace mserve
