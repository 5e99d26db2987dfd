// SPDX-License-Identifier: Apache-2.0
// q's end of the stream, made of two buffers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/value.hpp"
#include "shim/q_link.hpp"

namespace mserve::shim {

class FakeQ final : public QLink {
 public:
  // --- the shim's side ---
  Transfer send(std::span<const Piece> pieces) noexcept override {
    if (deaf) {
      return {Outcome::lost, 0};
    }
    std::size_t taken = 0;
    for (const Piece& piece : pieces) {
      const std::size_t now = std::min(piece.size(), room - taken);
      received.insert(received.end(), piece.begin(),
                      piece.begin() + static_cast<std::ptrdiff_t>(now));
      taken += now;
    }
    room -= taken;
    return {taken > 0 ? Outcome::moved : Outcome::blocked, taken};
  }
  Transfer receive(std::span<std::byte> into) noexcept override {
    ++looks;
    const std::size_t now = std::min({into.size(), say_.size() - said_, bytes_per_receive});
    if (now == 0) {
      return {hung_up ? Outcome::lost : Outcome::blocked, 0};
    }
    std::copy_n(say_.begin() + static_cast<std::ptrdiff_t>(said_), now, into.begin());
    said_ += now;
    return {Outcome::moved, now};
  }

  // --- the test's side ---
  void say(std::span<const std::byte> bytes) {
    say_.erase(say_.begin(), say_.begin() + static_cast<std::ptrdiff_t>(said_));
    said_ = 0;
    say_.insert(say_.end(), bytes.begin(), bytes.end());
  }
  void say(const kdb::Value& value, kdb::MessageKind kind,
           kdb::ByteOrder order = kdb::ByteOrder::little) {
    say(kdb::encode_message(value, kind, order));
  }
  void respond(const kdb::Value& value) { say(value, kdb::MessageKind::response); }
  /// (qid; result), or (qid; result; info).
  void answer(std::int64_t qid, const kdb::Value& result,
              const std::optional<kdb::Value>& info = std::nullopt) {
    std::vector<kdb::Value> items = {kdb::Value::long_atom(qid), result};
    if (info) {
      items.push_back(*info);
    }
    say(kdb::Value::list(std::move(items)), kdb::MessageKind::async);
  }
  /// Nothing more was said than the shim has received.
  [[nodiscard]] bool heard() const { return said_ == say_.size(); }

  /// The next message that the shim sent as a whole; nothing when there is none.
  std::optional<kdb::Message> next() {
    const kdb::Result<kdb::Header> header = kdb::parse_header(received);
    if (!header || received.size() < header->message_bytes) {
      return std::nullopt;
    }
    const auto size = static_cast<std::size_t>(header->message_bytes);
    const kdb::Result<kdb::Message> message =
        kdb::decode_message(std::span<const std::byte>(received).first(size));
    EXPECT_TRUE(message) << "what the shim sends is no kdb+ message";
    received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(size));
    return message ? std::optional(*message) : std::nullopt;
  }

  std::vector<std::byte> received;
  std::size_t room = ~std::size_t{0};  ///< Bytes that q still takes.
  std::size_t bytes_per_receive = ~std::size_t{0};
  bool hung_up = false;  ///< Behind what it said.
  bool deaf = false;     ///< Takes nothing, for ever.
  int looks = 0;         ///< Calls of receive().

 private:
  std::vector<std::byte> say_;
  std::size_t said_ = 0;
};

}  // namespace mserve::shim
