// SPDX-License-Identifier: Apache-2.0
// Operators that lie or go away: the broker keeps nothing of theirs and serves the others.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "hostile/bystander.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/socket.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

shm::UniqueFd send_control(const Broker& broker, std::span<const std::byte> bytes) {
  auto path = shm::socket_path(broker.directory(), broker.name());
  auto connected = shm::connect_to(path.value(), watchdog());
  EXPECT_TRUE(connected);
  shm::UniqueFd socket = connected ? std::move(connected).value() : shm::UniqueFd{};
  (void)shm::send_message(socket.get(), bytes, {}, watchdog());
  return socket;
}

/// The status of the answer, which must be well formed; `disconnected` without one.
Errc status_at(const shm::UniqueFd& socket) {
  std::array<std::byte, shm::kWireBytesMax> buffer;
  const auto answer = shm::receive_message(socket.get(), buffer, 1, watchdog());
  if (!answer) {
    return answer.error().code;
  }
  const auto bytes = std::span(buffer).first(answer.value().bytes);
  if (const auto refusal = shm::parse_welcome(bytes, shm::Role::client)) {
    return refusal.value().status;
  }
  const auto reply = shm::parse_control_reply(bytes);
  EXPECT_TRUE(reply);
  return reply ? reply.value().status : Errc::internal;
}

template <class Change>
Errc say_control(const Broker& broker, const Change& change) {
  shm::Control control;
  change(control);
  return status_at(send_control(broker, shm::wire_bytes(control)));
}

TEST(HostileControl, FieldsThatLieAreRefused) {
  Bystander others;
  const Broker& broker = others.broker();
  EXPECT_EQ(say_control(broker, [](shm::Control&) {}), Errc::ok);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.verb = static_cast<shm::Verb>(0); }),
            Errc::invalid);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.verb = static_cast<shm::Verb>(99); }),
            Errc::invalid);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.protocol_major = 9; }),
            Errc::version_mismatch);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.reserved = 1; }), Errc::protocol);
  EXPECT_EQ(
      say_control(broker, [](shm::Control& c) { std::memset(c.target, 'a', sizeof(c.target)); }),
      Errc::protocol);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.header.bytes = 8; }), Errc::protocol);
  EXPECT_EQ(say_control(broker, [](shm::Control& c) { c.verb = shm::Verb::retire; }), Errc::invalid)
      << "no target is not all of them";
  others.expect_unharmed();
}

TEST(HostileControl, ARequestCutShortAnywhereIsRefused) {
  Bystander others;
  shm::Control control;
  control.verb = shm::Verb::retire;
  ASSERT_TRUE(shm::set_text(control.target, "all"));
  for (std::size_t size = sizeof(shm::WireHeader); size < sizeof(control); size += 7) {
    control.header.bytes = static_cast<std::uint16_t>(size);
    EXPECT_EQ(status_at(send_control(others.broker(), shm::wire_bytes(control).first(size))),
              Errc::protocol)
        << size;
  }
  others.expect_unharmed();
}

TEST(HostileControl, RandomBytesLeaveTheBrokerWell) {
  Bystander others;
  std::mt19937_64 random(seed());
  for (int i = 0; i < 300; ++i) {
    shm::Control control;
    // Nobody is called so, so that no luck makes a verb pause or retire the bystander's servant.
    ASSERT_TRUE(shm::set_text(control.target, "name:nobody"));
    std::array<std::byte, sizeof(control)> bytes;
    std::memcpy(bytes.data(), &control, sizeof(control));
    // Magic, type, size, version, verb and all the rest, one time in two only the first of them.
    const std::size_t among =
        random() % 2 == 0 ? offsetof(shm::Control, timeout_ns) : sizeof(control);
    for (std::uint64_t flips = random() % 4; flips > 0; --flips) {
      bytes[random() % among] = static_cast<std::byte>(random());
    }
    if (random() % 2 == 0) {
      const auto verb = static_cast<shm::Verb>(random() % 9);
      std::memcpy(bytes.data() + offsetof(shm::Control, verb), &verb, sizeof(verb));
    }
    const std::size_t size = random() % 8 == 0 ? 1 + random() % sizeof(control) : sizeof(control);
    const Errc status = status_at(send_control(others.broker(), std::span(bytes).first(size)));
    EXPECT_TRUE(status == Errc::ok || status == Errc::protocol || status == Errc::invalid ||
                status == Errc::no_servant || status == Errc::version_mismatch)
        << to_string(status);
  }
  EXPECT_EQ(say_control(others.broker(), [](shm::Control& c) { c.verb = shm::Verb::queries; }),
            Errc::invalid)
      << "no gateway, and still an answer";
  others.expect_unharmed();
}

/// A drain of a servant that never runs dry.
class WaitingDrains : public ::testing::Test {
 protected:
  WaitingDrains() : servant_(raw_servant(others_.broker(), "busy")) {
    others_.broker().wait_for_counter("servants", 2);
    control_.verb = shm::Verb::drain;
    EXPECT_TRUE(shm::set_text(control_.target, std::to_string(servant_.welcome().servant)));
    replies_ = others_.broker().counter("replies").value_or(0);
    // The bystander's servant is free too: ask until one of the requests came here.
    Client client = others_.broker().client();
    EXPECT_TRUE(wait_until(
        [&] {
          ids_.push_back(send_opaque(client, pattern(10)));
          frame_ = servant_.poll();
          return frame_.has_value();
        },
        "a request to come here"));
    client_.emplace(std::move(client));
  }
  void finish() {
    EXPECT_TRUE(servant_.reply(frame_->header.id, pattern(10)));
    EXPECT_TRUE(wait_until(
        [&] {
          // Another one may come here if the data thread hears of the answer before the drain.
          if (const auto frame = servant_.poll()) {
            EXPECT_TRUE(servant_.reply(frame->header.id, pattern(10)));
          }
          return others_.broker().counter("replies") == replies_ + ids_.size();
        },
        "all of them to be answered"));
    for (const std::uint64_t id : ids_) {
      EXPECT_EQ(await(*client_, id).status, Errc::ok);
    }
    client_.reset();
    servant_.vanish();
    others_.broker().wait_for_counter("servants", 1);
    others_.expect_unharmed();
  }

  Bystander others_;
  RawPeer servant_;
  shm::Control control_;
  std::optional<Client> client_;
  std::optional<Frame> frame_;
  std::vector<std::uint64_t> ids_;
  std::uint64_t replies_ = 0;  ///< Of the broker, before these.
};

TEST_F(WaitingDrains, AreBoundedInNumber) {
  constexpr int kMost = 64;
  std::vector<shm::UniqueFd> waiting;
  for (int i = 0; i < kMost; ++i) {
    waiting.push_back(send_control(others_.broker(), shm::wire_bytes(control_)));
  }
  EXPECT_EQ(status_at(send_control(others_.broker(), shm::wire_bytes(control_))), Errc::busy);
  waiting.clear();
  EXPECT_TRUE(wait_until(
      [&] {
        shm::Control at_once = control_;
        at_once.timeout_ns = 0;
        return status_at(send_control(others_.broker(), shm::wire_bytes(at_once))) ==
               Errc::timed_out;
      },
      "those that went away to be forgotten"));
  finish();
}

TEST_F(WaitingDrains, EndWhenTheirOperatorSaysMoreThanItShould) {
  const shm::UniqueFd socket = send_control(others_.broker(), shm::wire_bytes(control_));
  (void)others_.broker().wait_for_log("control verb=drain");
  (void)shm::send_message(socket.get(), pattern(100), {}, watchdog());
  EXPECT_EQ(status_at(socket), Errc::disconnected);
  finish();
}

TEST_F(WaitingDrains, OutliveTheTimeThatAHandshakeMayTake) {
  // A handshake is given up after five seconds; whoever waits for a servant is not part of one.
  const shm::UniqueFd socket = send_control(others_.broker(), shm::wire_bytes(control_));
  (void)others_.broker().wait_for_log("control verb=drain");
  const shm::UniqueFd silent = send_control(others_.broker(), {});
  (void)others_.broker().wait_for_log("handshake_timeout");
  EXPECT_TRUE(servant_.reply(frame_->header.id, pattern(10)));
  EXPECT_EQ(status_at(socket), Errc::ok);
  finish();
}

}  // namespace
}  // namespace mserve::test
