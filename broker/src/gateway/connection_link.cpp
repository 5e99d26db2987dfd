// SPDX-License-Identifier: Apache-2.0
// Connections of other brokers' links: what is believed of them, and signs of life for them.
#include <array>

#include "access/table_file.hpp"
#include "gateway/connection.hpp"
#include "gateway/object_writer.hpp"
#include "gateway/told.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

namespace {

constexpr std::int64_t kBeatMsMin = 50;
constexpr std::int64_t kBeatMsMax = 10'000;
constexpr std::uint64_t kNsPerMs = 1'000'000;
/// `::`
constexpr std::array<std::byte, 2> kNothing = {type_byte(101), std::byte{0}};

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
  beat_ns_ = static_cast<std::uint64_t>(ms) * kNsPerMs;
  beat_at_ = context_.now_ns + beat_ns_;
  answer(pending, {.result = kNothing, .servant_info = {}, .error = {}});
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
