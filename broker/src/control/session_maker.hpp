// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/session.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/socket.hpp"
#include "options.hpp"
#include "placement/class_table.hpp"

namespace mserve::broker {

/// Makes sessions out of handshakes: numbers, segments, seals, mappings, and the caps on all of
/// them. Used by the control thread alone.
class SessionMaker {
 public:
  SessionMaker(const BrokerOptions& options, std::uint64_t epoch, bool seq_cst_wakes,
               std::string counters_name);

  /// A handshake between Welcome and Mapped.
  struct Draft {
    std::unique_ptr<Session> session;
    shm::Segment peer_segment;  ///< To be sealed once the peer has mapped it.
    /// The servant's pool is new: the data thread has to be told at once, before anybody joins it.
    std::optional<PoolDefined> define;
  };

  /// What a refusal says.
  struct Refusal {
    Errc code = Errc::ok;
    std::string reason;
  };

  /// Step 2 of shm/README.md: takes a number, creates and maps, and sends the Welcome.
  /// @return false: `refusal` says why; nothing was sent, and `socket` is still the caller's.
  [[nodiscard]] bool welcome(const shm::Hello& hello, const shm::Credentials& who,
                             shm::UniqueFd& socket, Draft& draft, Refusal& refusal);
  /// Step 4: seals and maps the peer's segment and binds the rings. Ready is the caller's to send.
  [[nodiscard]] Error complete(Draft& draft);
  /// Tells an observer what there is to know.
  void welcome_observer(int socket);
  /// Sends a Welcome that says no.
  void refuse(int socket, const Refusal& refusal);

  /// Why a session did not come to be, and what to do about it.
  [[nodiscard]] static std::string why(const Error& error);

  /// Gives the place and the bytes of a session back, which is unmapped now.
  void release(const Session& session);
  /// Only its number and its place among servants: its segments are still mapped.
  void release_place(const Session& session);
  /// Its bytes, once they are not.
  void release_bytes(const Session& session) noexcept;
  /// Whether --max-shared-bytes leaves room for what a hello asks for.
  [[nodiscard]] bool fits(const shm::Hello& hello) const noexcept;

  /// Which pools and classes there are.
  [[nodiscard]] ClassTable& classes() noexcept { return classes_; }
  /// What welcome() changed in them, whatever it returned: to be told to the data thread before
  /// Draft::define. Nothing, most of the time.
  [[nodiscard]] std::optional<ClassTable::Change> take_change() noexcept {
    return std::exchange(change_, std::nullopt);
  }

  [[nodiscard]] static std::uint64_t wire_number(const Session& session) noexcept {
    return std::uint64_t{session.generation} << 32 | session.number;
  }

 private:
  /// Sizes of a session's rings.
  struct Shape {
    std::uint32_t ring;
    std::uint32_t control;
    std::uint32_t window_bytes;
    [[nodiscard]] std::uint64_t bytes() const noexcept {
      return shm::segment_bytes(ring, 0) + shm::segment_bytes(ring, control);
    }
  };
  [[nodiscard]] Shape shape_for(const shm::Hello& hello) const;
  void fill(Session& session, const shm::Hello& hello, const shm::Credentials& who,
            const Shape& shape);
  [[nodiscard]] bool make(const shm::Hello& hello, const shm::Credentials& who,
                          shm::UniqueFd& socket, Draft& draft, Refusal& refusal);
  [[nodiscard]] bool take_pool(const shm::Hello& hello, Draft& draft, std::string& fault);
  [[nodiscard]] Error greet(const shm::Hello& hello, const Shape& shape, int socket, Draft& draft);
  [[nodiscard]] shm::Welcome base_welcome() const;
  [[nodiscard]] Error make_segments(Session& session, std::uint32_t ring, std::uint32_t control,
                                    shm::Segment& own, shm::Segment& peer) const;
  [[nodiscard]] bool take_number(std::uint32_t& number);
  [[nodiscard]] std::uint32_t next_generation() noexcept;

  const BrokerOptions& options_;
  std::uint64_t epoch_;
  bool seq_cst_wakes_;
  std::string counters_name_;
  std::vector<bool> number_used_;
  std::uint32_t next_number_ = 0;
  std::uint32_t generation_ = 0;
  std::uint64_t shared_bytes_ = 0;
  ClassTable classes_;
  std::optional<ClassTable::Change> change_;
};

}  // namespace mserve::broker
