// SPDX-License-Identifier: Apache-2.0
#include "shim/q_handshake.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "mserve/kdb/message.hpp"

namespace mserve::shim {

namespace {

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

/// Receives one message and forgets its body, however long it is.
bool receive_kind(Talk& talk, kdb::MessageKind& kind, std::string& why) {
  std::array<std::byte, kdb::kHeaderBytes> bytes{};
  if (!talk.receive(bytes)) {
    why = talk.hung_up() ? "it hung up when it was asked which form it speaks" : kStopped;
    return false;
  }
  const kdb::Result<kdb::Header> header = kdb::parse_header(bytes);
  if (!header) {
    why = "what it sends is no kdb+ message";
    return false;
  }
  kind = header->kind;
  std::array<std::byte, 4096> scrap;
  for (std::uint64_t left = header->message_bytes - kdb::kHeaderBytes; left > 0;) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(left, scrap.size()));
    if (!talk.receive(std::span(scrap).first(now))) {
      why = talk.hung_up() ? "it hung up in the middle of a message" : kStopped;
      return false;
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
    why = talk.hung_up() ? "it hung up when it was asked which form it speaks" : kStopped;
    return false;
  }
  form = Form::plain;
  for (;;) {
    kdb::MessageKind kind = kdb::MessageKind::async;
    if (!receive_kind(talk, kind, why)) {
      return false;
    }
    if (kind == kdb::MessageKind::response) {
      return true;
    }
    if (kind == kdb::MessageKind::async) {
      form = Form::lbt;
      continue;
    }
    OwnBytes answer;
    put_nyi_response(answer);
    if (!talk.send(answer.view())) {
      why = talk.hung_up() ? "it hung up when it was asked which form it speaks" : kStopped;
      return false;
    }
  }
}

}  // namespace

bool introduce(QLink& q, const std::string& credentials, ServantProtocol protocol,
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
    return true;
  }
  return ask_form(talk, identity.form, why);
}

}  // namespace mserve::shim
