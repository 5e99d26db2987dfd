// SPDX-License-Identifier: Apache-2.0
// Connections of other brokers' links: what is believed of them, and signs of life for them.
#include <algorithm>
#include <array>
#include <cstring>

#include "access/table_file.hpp"
#include "gateway/connection.hpp"
#include "gateway/object_writer.hpp"
#include "gateway/told.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

namespace {

constexpr std::int64_t kBeatMsMin = 50;
constexpr std::int64_t kBeatMsMax = 10'000;
/// `::`
constexpr std::array<std::byte, 2> kNothing = {type_byte(101), std::byte{0}};
/// What a link asked and has no answer to that is looked through for what it cancels: oldest first,
/// and many times what it has places.
constexpr std::uint32_t kPendingScanMax = 4096;

using LongAtom = std::array<std::byte, 9>;

LongAtom long_atom(std::int64_t number) noexcept {
  LongAtom atom = {type_byte(-static_cast<int>(kdb::Type::long_int))};
  std::memcpy(atom.data() + 1, &number, sizeof(number));
  return atom;
}

bool is_atom(std::span<const std::byte> id, const LongAtom& atom) noexcept {
  return std::equal(id.begin(), id.end(), atom.begin(), atom.end());
}

/// What the answer to `.mserve.beat` says besides: this broker knows `.mserve.cancel`.
std::vector<std::byte> link_info() {
  return kdb::encode(kdb::Value::dict(kdb::Value::symbols({"mserve_cancel"}),
                                      kdb::Value::list({kdb::Value::boolean(true)})));
}

}  // namespace

/// Whether what it says of a request's way and of who asked may be true. Where no passwords are
/// asked it can only be used to limit oneself, since names count for nothing there.
bool Connection::believed() const noexcept {
  return role_ == nullptr ||
         (!context_.settings.peer_user.empty() && user_ == context_.settings.peer_user);
}

/// Who is to be judged for a message: with --users, and of another broker, the one who asked there.
/// @return the text of the error that it is answered with; empty: `asker` is filled in.
std::string Connection::find_asker(std::span<const std::byte> options, Asker& asker) const {
  asker = {user_, role_};
  // Once nobody is asked any more there are no roles to judge by but the one it came in with.
  if (role_ == nullptr || context_.access == nullptr || !believed() || options.empty()) {
    return {};
  }
  if (options.size() > kOptionsBytesMax) {
    return "limit";
  }
  const kdb::Result<kdb::Value> value = kdb::decode(options);
  if (!value) {
    return "badmsg";
  }
  ToldCaller told = told_caller(*value);
  if (!told.fault.empty() || !told.told) {
    return std::string(told.fault);
  }
  asker = {std::move(told.user), context_.access->role_told(told.role)};
  return asker.role != nullptr ? std::string() : "unknown role: `" + shown_name(told.role);
}

/// The call `.mserve.beat ms`: answered at once, and from then on, every so often, with one more
/// answer of the same id, so that the other side knows that this one lives, however long what it
/// asked takes and whatever it is in the middle of sending. Whoever asks for it is a link: what it
/// asks from then on is run here or nowhere.
void Connection::answer_beat(const AdminCall& call, const Classified& message) {
  Pending& pending = new_pending(message.convention);
  describe(pending, message);
  const std::int64_t ms = call.argument.value_or(0);
  std::string_view fault = call.fault;
  if (!believed()) {
    fault = "access";
  } else if (fault.empty() && message.convention != Convention::lbt) {
    fault = "only as (id; query) or (id; query; options)";
  } else if (fault.empty() && (ms < kBeatMsMin || ms > kBeatMsMax)) {
    fault = "domain";
  }
  if (!fault.empty()) {
    answer_error(pending, fault);
    return;
  }
  const Wrapping wrapping = wrap_bare(message.id, kNothing.size());
  const std::span<const std::byte> before = wrapping.before.span();
  beat_.assign(before.begin(), before.end());
  beat_.insert(beat_.end(), kNothing.begin(), kNothing.end());
  beat_ns_ = static_cast<std::uint64_t>(ms) * kMillisecond;
  beat_at_ = context_.now_ns + beat_ns_;
  const std::vector<std::byte> info = link_info();
  answer(pending, {.result = kNothing, .servant_info = info, .error = {}});
}

/// Whether a link says `(0; ".mserve.cancel qid"; ...)` itself: what its broker's clients ask has
/// ids of the link's, which are above 0.
bool Connection::says_cancel(const AdminCall& call, const Classified& message) const noexcept {
  return call.name == AdminCall::Name::cancel && beats() && call.fault.empty() &&
         message.convention == Convention::lbt && is_atom(message.id, long_atom(0));
}

/// The link's broker does not wait for this request any more. Its own answer, which the link waits
/// for, is all that is said about it: `cancelled`, or what it came to before that. Nothing happens
/// if there is no such request.
void Connection::cancel(const AdminCall& call) {
  hold_ = Hold::turn;  // one search a turn: it makes no pending, so nothing else slows it
  const LongAtom qid = long_atom(call.argument.value_or(0));
  Pending* pending = unordered_.first();
  for (std::uint32_t n = 0; n < kPendingScanMax && pending != nullptr; ++n) {
    if (is_atom(pending->client_id(), qid)) {
      if (pending->state == AnswerState::awaited && !pending->sending() && !pending->cancelled) {
        pending->cancelled = true;
        context_.link->cancel(pending->id, origin_);
      }
      return;
    }
    pending = pending->next;
  }
}

void Connection::send_back() {
  beat_at_ = UINT64_MAX;
  drain();
}

/// Bytes that are on their way tell as much.
void Connection::beat() {
  if (!beats() || lingers_ || context_.now_ns < beat_at_) {
    return;
  }
  beat_at_ = context_.now_ns + beat_ns_;
  active_ns_ = context_.now_ns;
  if (wire_ == nullptr && output_.waiting() == 0) {
    send(beat_);
  }
}

}  // namespace mserve::broker
