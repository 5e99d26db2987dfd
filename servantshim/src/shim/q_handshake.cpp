// SPDX-License-Identifier: Apache-2.0
#include "shim/q_handshake.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/kdb/value.hpp"
#include "shim/type_codes.hpp"

namespace mserve::shim {

namespace {

/// What q may say for itself while it is asked which form it speaks; beyond it, it is no servant.
constexpr int kUnaskedMax = 100;
/// The same while it is asked which process it is: one that publishes is welcome where the form was
/// given.
constexpr int kUnaskedMaxOfServant = 1'000'000;
constexpr std::uint64_t kAnswerBytesMax = 64ULL << 20;
/// Above that an answer is no process id.
constexpr std::size_t kShortBytesMax = 4096;

constexpr const char* kStopped = "it did not answer as long as it was waited for";

/// The stream with waits between, for a conversation in which nothing else has to be done.
class Talk {
 public:
  Talk(QLink& q, const WaitFunction& wait) noexcept : q_(q), wait_(wait) {}

  bool send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::array<Piece, 1> pieces = {bytes};
      const Transfer sent = q_.send(pieces);
      bytes = bytes.subspan(sent.bytes);
      if (!go_on(sent.outcome, /*writable=*/true)) {
        return false;
      }
    }
    return true;
  }

  /// Fills `into`, and takes not a byte more.
  bool receive(std::span<std::byte> into) {
    while (!into.empty()) {
      const Transfer got = q_.receive(into);
      into = into.subspan(got.bytes);
      if (!go_on(got.outcome, /*writable=*/false)) {
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool hung_up() const noexcept { return hung_up_; }

 private:
  bool go_on(Outcome outcome, bool writable) {
    hung_up_ = outcome == Outcome::lost;
    return outcome == Outcome::moved || (outcome == Outcome::blocked && wait_(writable));
  }

  QLink& q_;
  const WaitFunction& wait_;
  bool hung_up_ = false;
};

/// @return false, having said why.
bool ended(const Talk& talk, std::string& why) {
  why = talk.hung_up() ? "it hung up when it was asked who it is" : kStopped;
  return false;
}

/// Begins as LBT's reply to our question does: `(0;` and one or two more; q makes a vector of
/// (0;42).
bool answers_probe(std::span<const std::byte> body) noexcept {
  const auto at = [body](std::size_t i) { return std::to_integer<unsigned>(body[i]); };
  constexpr std::size_t kListHead = 6;
  constexpr std::size_t kLong = 8;
  if (body.size() < kListHead + kLong + 1 || (at(0) != 0 && body[0] != kLongVectorByte)) {
    return false;
  }
  const unsigned count = at(2) + at(5);  // the other bytes of it, of either order, are zero
  const std::size_t zero = at(0) == 0 ? kListHead + 1 : kListHead;
  return (count == 2 || count == 3) && at(3) == 0 && at(4) == 0 &&
         (at(0) != 0 || body[kListHead] == kLongAtomByte) &&
         std::all_of(body.begin() + static_cast<std::ptrdiff_t>(zero),
                     body.begin() + static_cast<std::ptrdiff_t>(zero + kLong),
                     [](std::byte b) { return b == std::byte{0}; });
}

/// What q said, as far as it matters here.
struct Said {
  kdb::MessageKind kind = kdb::MessageKind::async;
  bool answers_probe = false;
  kdb::Value value;  ///< Of a short message; else ::.
};

/// What a message holds, :: if that makes no sense.
kdb::Value decoded(std::span<const std::byte> header, std::span<const std::byte> body) {
  std::vector<std::byte> bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), body.begin(), body.end());
  kdb::MessageLimits limits;
  limits.plain_bytes_max = kShortBytesMax;
  kdb::Result<kdb::Message> message = kdb::decode_message(bytes, limits);
  return message ? std::move(message->value) : kdb::Value();
}

/// Receives one message, and of a long one forgets the body.
bool receive_one(Talk& talk, Said& said, std::string& why) {
  std::array<std::byte, kdb::kHeaderBytes> bytes{};
  if (!talk.receive(bytes)) {
    return ended(talk, why);
  }
  const kdb::Result<kdb::Header> header = kdb::parse_header(bytes);
  if (!header) {
    why = "what it sends is no kdb+ message";
    return false;
  }
  if (header->message_bytes > kAnswerBytesMax) {
    why = "its answer to the question who it is is too long";
    return false;
  }
  said = {header->kind, false, {}};
  std::array<std::byte, kShortBytesMax> scrap;
  const std::uint64_t all = header->message_bytes - kdb::kHeaderBytes;
  for (std::uint64_t left = all; left > 0;) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(left, scrap.size()));
    if (!talk.receive(std::span(scrap).first(now))) {
      why = talk.hung_up() ? "it hung up in the middle of a message" : kStopped;
      return false;
    }
    if (left == all) {
      said.answers_probe = header->kind == kdb::MessageKind::async &&
                           (header->compression != kdb::Compression::none ||
                            answers_probe(std::span(scrap).first(now)));
      if (now == all) {
        said.value = decoded(bytes, std::span(scrap).first(now));
      }
    }
    left -= now;
  }
  return true;
}

/// One real question tells both forms apart: LBT's servants answer the async half of it, and every
/// q answers the sync half, if only with an error.
bool ask_form(Talk& talk, Form& form, std::string& why) {
  OwnBytes question;
  put_lbt_probe(question);
  put_plain_probe(question);
  if (!talk.send(question.view())) {
    return ended(talk, why);
  }
  form = Form::plain;
  for (int unasked = 0; unasked <= kUnaskedMax; ++unasked) {
    Said said;
    if (!receive_one(talk, said, why)) {
      return false;
    }
    if (said.kind == kdb::MessageKind::response) {
      return true;
    }
    if (said.kind == kdb::MessageKind::async) {
      form = said.answers_probe ? Form::lbt : form;  // it may greet its clients, or publish
      continue;
    }
    OwnBytes answer;
    put_nyi_response(answer);
    if (!talk.send(answer.view())) {
      return ended(talk, why);
    }
  }
  why = "it says all kinds of things, but not which form it speaks; give --servant-protocol";
  return false;
}

/// The process id in a result; 0 when it is none.
std::int64_t process_in(const kdb::Value& result) noexcept {
  return std::max<std::int64_t>(result.integer().value_or(0), 0);
}

/// The same for the body of LBT's reply (0; result) or (0; result; info).
std::int64_t process_in_reply(const kdb::Value& reply) noexcept {
  const std::span<const kdb::Value> items = reply.list_items();
  if (items.size() == 2 || items.size() == 3) {
    return items[0] == kdb::Value::long_atom(0) ? process_in(items[1]) : 0;
  }
  return 0;
}

/// Every q answers, if only with an error, or LBT's text that sync messages are not served.
bool ask_which_process(Talk& talk, Identity& identity, std::string& why) {
  OwnBytes question;
  put_process_question(question, identity.form);
  if (!talk.send(question.view())) {
    return ended(talk, why);
  }
  for (int unasked = 0; unasked <= kUnaskedMaxOfServant; ++unasked) {
    Said said;
    if (!receive_one(talk, said, why)) {
      return false;
    }
    if (said.kind == kdb::MessageKind::response) {
      identity.process = identity.form == Form::plain ? process_in(said.value) : identity.process;
      return true;
    }
    if (said.kind == kdb::MessageKind::async) {
      const bool lbt = identity.form == Form::lbt && identity.process == 0;
      identity.process = lbt ? process_in_reply(said.value) : identity.process;
      continue;
    }
    OwnBytes answer;
    put_nyi_response(answer);
    if (!talk.send(answer.view())) {
      return ended(talk, why);
    }
  }
  why = "it says all kinds of things, but answers nothing";
  return false;
}

}  // namespace

bool ask_for_beats(QLink& q, std::uint64_t ms, const WaitFunction& wait, bool& takes_cancels,
                   std::string& why) {
  using kdb::Value;
  Talk talk(q, wait);
  const Value options = Value::dict(Value::symbols({"hop"}), Value::longs({1}));
  const std::vector<std::byte> question = kdb::encode_message(
      Value::list(
          {Value::long_atom(0), Value::chars(".mserve.beat " + std::to_string(ms)), options}),
      kdb::MessageKind::async);
  Said said;
  if (!talk.send(question)) {
    return ended(talk, why);
  }
  if (!receive_one(talk, said, why)) {
    return false;
  }
  const std::span<const Value> items = said.value.list_items();
  if (said.kind != kdb::MessageKind::async || items.size() != 3 ||
      items[0] != Value::long_atom(0)) {
    why = "it is no gateway of an mserve broker that other brokers can use";
    return false;
  }
  if (!items[1].is_null()) {
    why = "it refuses .mserve.beat: " + std::string(items[1].text_view().value_or("no answer"));
    return false;
  }
  takes_cancels = items[2].is_dict() && items[2].find("mserve_cancel") == Value::boolean(true);
  return true;
}

bool introduce(QLink& q, const std::string& credentials, ServantProtocol protocol, bool ask_process,
               const WaitFunction& wait, Identity& identity, std::string& why) {
  Talk talk(q, wait);
  std::vector<std::byte> greeting(credentials.size() + 2);
  std::transform(credentials.begin(), credentials.end(), greeting.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
  greeting[credentials.size()] = std::byte{kOfferedCapability};
  std::array<std::byte, 1> answer{};
  if (!talk.send(greeting) || !talk.receive(answer)) {
    why = talk.hung_up() ? "it hung up on user '" + credentials.substr(0, credentials.find(':')) +
                               "': it refuses that user or password (--user), or it just ended"
                         : kStopped;
    return false;
  }
  identity.capability = std::to_integer<std::uint8_t>(answer[0]);
  if (identity.capability > kOfferedCapability) {
    why = "what listens there is no kdb+ process: it answers the handshake with byte " +
          std::to_string(identity.capability);
    return false;
  }
  if (protocol != ServantProtocol::automatic) {
    identity.form = protocol == ServantProtocol::lbt ? Form::lbt : Form::plain;
  } else if (!ask_form(talk, identity.form, why)) {
    return false;
  }
  if (!ask_process || ask_which_process(talk, identity, why)) {
    return true;
  }
  identity.hung_up_on_process = talk.hung_up();
  return false;
}

}  // namespace mserve::shim
