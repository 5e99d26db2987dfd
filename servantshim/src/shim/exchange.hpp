// SPDX-License-Identifier: Apache-2.0
// What the shim does with the rings of its session and the byte streams of its q: requests there,
// replies back. No socket, clock, thread or sleep: whoever owns rings and streams calls step() and
// waits in between, so tests play both the broker and q.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mserve/shm/errc.hpp"
#include "shim/messages.hpp"
#include "shim/q_link.hpp"
#include "shim/questions.hpp"
#include "shim/reply_reader.hpp"
#include "shim/request_writer.hpp"
#include "shim/rings.hpp"

namespace mserve::shim {

/// What one step came to.
enum class Progress : std::uint8_t {
  idle,            ///< Nothing to do.
  worked,          ///< Call again at once.
  waits_for_ring,  ///< A reply finds no room towards the broker: call again soon.
  waits_for_q,     ///< q takes no bytes now: call again when it does.
  q_lost,         ///< Only connect() ends this; see fault_text(). Requests may be lost with it: the
                  ///< session has to end, so that the broker sees to them.
  q_cut,          ///< The same, but every request that q had is answered: the session may go on.
  broker_broken,  ///< The broker broke the protocol; see fault(). Only detach() ends this.
};

class Exchange {
 public:
  /// What the session and the options allow.
  struct Bounds {
    std::uint32_t servant = 0;            ///< Our number, stamped on replies.
    std::uint32_t credit = 1;             ///< 1..4096.
    std::uint64_t out_ring_bytes = 0;     ///< Capacity of the ring towards the broker.
    std::uint64_t message_bytes_max = 0;  ///< Largest reply that the broker takes.
    std::uint64_t max_gathered = 0;       ///< Bound on whatever must be whole in memory.
  };

  /// @param warn  told what stops nothing; must not be empty.
  /// @param peer  q is another broker's gateway: then it speaks Form::lbt.
  explicit Exchange(WarnFunction warn, bool peer = false);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// A new connection to q, which has said who it is. Requests that were not begun are kept.
  /// @param takes_cancels  of a peer: it is told what nobody waits for any more.
  void connect(Form form, std::uint8_t capability, bool takes_cancels = false);
  /// A new session. To be called when idle(). Allocates what a session needs.
  void attach(const Bounds& bounds);
  /// The session is over: answers that q still owes will be passed over.
  /// @return false when q is in the middle of a message, so that it has to be left as well.
  [[nodiscard]] bool detach();

  /// One bounded piece of work in each direction.
  /// @param rings      nullptr without a session: then only what q still owes is read.
  /// @param look_at_q  whether to look for messages that nobody asked for; answers are looked for
  ///                   anyway.
  /// @param now_ns     steady clock. Only a peer is told of times; of others it may be anything.
  [[nodiscard]] Progress step(QLink& q, Rings* rings, bool look_at_q, std::uint64_t now_ns);

  /// Whether requests may begin; those that have go on. On after construction.
  void take_requests(bool take) noexcept { taking_ = take; }
  /// Whether a new frame in the ring can be of any use now.
  [[nodiscard]] bool takes_requests() const noexcept { return taking_ && !writer_.is_cut(); }
  /// Asks q for a sign of life, when no message is under way.
  void probe() noexcept { writer_.owe_probe(); }
  /// A probe is unanswered.
  [[nodiscard]] bool probing() const noexcept {
    return writer_.owes_probe() || questions_.has_probe();
  }
  /// q works, or is being asked, for the broker or for an earlier session.
  [[nodiscard]] bool busy() const noexcept {
    return !questions_.only_probes() || reader_.busy() || !writer_.idle();
  }
  /// q has begun a message and not ended it.
  [[nodiscard]] bool in_message() const noexcept { return reader_.busy(); }
  /// Nothing is under way and q owes nothing. A peer may owe answers that nobody waits for, as many
  /// as there are places: it runs other requests meanwhile.
  [[nodiscard]] bool idle() const noexcept {
    const bool owes = peer_ ? questions_.requests() > 0 || questions_.orphans() > writer_.credit()
                            : !questions_.empty();
    return !owes && !reader_.busy() && writer_.idle();
  }
  /// Bytes received from q so far, whatever they mean.
  [[nodiscard]] std::uint64_t received_bytes() const noexcept { return reader_.received_bytes(); }
  /// Something is expected from q.
  [[nodiscard]] bool awaiting() const noexcept { return !questions_.empty() || reader_.busy(); }

  /// The broker's id of the request that q runs and nobody wants any more; nothing when there is
  /// none, or q has begun its answer.
  [[nodiscard]] std::optional<std::uint64_t> unwanted() const noexcept {
    const Question* const oldest = questions_.oldest();
    const bool runs = oldest != nullptr && oldest->sent && !oldest->orphan && !reader_.busy();
    return runs && oldest->unwanted ? std::optional(oldest->id) : std::nullopt;
  }
  /// q was asked nothing else.
  [[nodiscard]] bool asked_one() const noexcept { return questions_.one(); }
  /// What was to be done about it is done: unwanted() names it no more.
  void forget_unwanted() noexcept {
    if (Question* const oldest = questions_.oldest()) {
      oldest->unwanted = false;
    }
  }

  /// Why step() said broker_broken.
  [[nodiscard]] Errc fault() const noexcept { return fault_; }
  /// Why step() said q_lost: one sentence.
  [[nodiscard]] const std::string& fault_text() const noexcept { return fault_text_; }

 private:
  Progress read(QLink& q, Rings* rings);
  Progress write(QLink& q, Rings* rings, std::uint64_t now_ns);
  Progress malformed(Rings* rings);
  Progress ended(Progress how, std::string text);
  Progress broken(Errc fault) noexcept;

  WarnFunction warn_;
  const bool peer_;
  Questions questions_;
  ReplyReader reader_;
  RequestWriter writer_;
  bool taking_ = true;
  Progress ended_ = Progress::idle;  ///< q_lost or q_cut, until connect().
  bool send_lost_ = false;           ///< q takes nothing more; what it sent before is still read.
  Errc fault_ = Errc::ok;
  std::string fault_text_;
};

}  // namespace mserve::shim
