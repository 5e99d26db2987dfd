// SPDX-License-Identifier: Apache-2.0
// Strangers at the socket: whatever they say, the broker keeps no descriptor and serves the others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <deque>
#include <random>

#include "hostile/bystander.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/socket.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

shm::UniqueFd connect_to(const Broker& broker) {
  auto path = shm::socket_path(broker.directory(), broker.name());
  auto connected = shm::connect_to(path.value(), watchdog());
  EXPECT_TRUE(connected);
  return connected ? std::move(connected).value() : shm::UniqueFd{};
}

shm::Hello good_hello() {
  shm::Hello hello;
  hello.role = shm::Role::client;
  return hello;
}

/// Sends it and returns the status of the refusal; ok when it was no refusal, disconnected without
/// an answer.
Errc say(const Broker& broker, std::span<const std::byte> bytes, std::span<const int> fds = {}) {
  const shm::UniqueFd socket = connect_to(broker);
  (void)shm::send_message(socket.get(), bytes, fds, watchdog());
  std::array<std::byte, shm::kWireBytesMax> buffer;
  const auto answer = shm::receive_message(socket.get(), buffer, 2, watchdog());
  if (!answer) {
    return answer.error().code;
  }
  EXPECT_EQ(answer.value().fd_count, answer.value().fds[0] ? 2U : 0U);
  const auto welcome =
      shm::parse_welcome(std::span(buffer).first(answer.value().bytes), shm::Role::client);
  EXPECT_TRUE(welcome);
  return welcome ? welcome.value().status : Errc::internal;
}

template <class Change>
Errc say_hello(const Broker& broker, const Change& change) {
  shm::Hello hello = good_hello();
  change(hello);
  return say(broker, shm::wire_bytes(hello));
}

TEST(HostileRendezvous, AWrongVersionIsRefusedAsSuch) {
  Bystander others;
  EXPECT_EQ(say_hello(others.broker(), [](shm::Hello& h) { h.protocol_major = 2; }),
            Errc::version_mismatch);
  EXPECT_EQ(say_hello(others.broker(), [](shm::Hello& h) { h.layout_major = 9; }),
            Errc::version_mismatch);
  EXPECT_EQ(say_hello(others.broker(), [](shm::Hello& h) { h.protocol_minor = 9; }), Errc::ok);
  (void)others.broker().wait_for_log("version mismatch");
  others.expect_unharmed();
}

TEST(HostileRendezvous, FieldsThatLieAreRefused) {
  Bystander others;
  const auto refused = [&](const auto& change) {
    EXPECT_EQ(say_hello(others.broker(), change), Errc::protocol);
  };
  refused([](shm::Hello& h) { h.header.magic ^= 1; });
  refused([](shm::Hello& h) { h.header.bytes = 8; });
  refused([](shm::Hello& h) { h.header.type = shm::WireType::mapped; });
  refused([](shm::Hello& h) { h.role = static_cast<shm::Role>(77); });
  refused([](shm::Hello& h) { h.ring_bytes = 5000; });
  refused([](shm::Hello& h) { h.credit = 1'000'000; });
  refused([](shm::Hello& h) { std::memset(h.name, 'a', sizeof(h.name)); });
  refused([](shm::Hello& h) { std::strcpy(h.name, "new\nline"); });
  others.expect_unharmed();
}

TEST(HostileRendezvous, RingsOfAnySizeThatAreAskedForStayWithinTheBrokersBounds) {
  Bystander others;
  for (const std::uint32_t bytes : {shm::kRingBytesMin, shm::kRingBytesMax}) {
    for (const shm::Role role : {shm::Role::client, shm::Role::servant}) {
      RawPeer peer(others.broker(), RawSetup{.role = role, .ring_bytes = bytes});
      EXPECT_LE(peer.welcome().to_broker_ring_bytes, 4U << 20);
    }
  }
  others.broker().wait_for_counter("servants", 1);
  others.expect_unharmed();
}

TEST(HostileRendezvous, GarbageOfEveryLengthIsRefused) {
  Bystander others;
  std::mt19937_64 random(seed());
  for (int i = 0; i < 60; ++i) {
    const Bytes junk = pattern(1 + random() % 2000, static_cast<std::uint32_t>(random()));
    EXPECT_EQ(say(others.broker(), junk), Errc::protocol) << junk.size();
  }
  others.expect_unharmed();
}

TEST(HostileRendezvous, AHelloCutShortAnywhereIsRefused) {
  Bystander others;
  const shm::Hello hello = good_hello();
  const auto bytes = shm::wire_bytes(hello);
  for (std::size_t length = 1; length < bytes.size(); length += 37) {
    EXPECT_EQ(say(others.broker(), bytes.first(length)), Errc::protocol) << length;
  }
  others.expect_unharmed();
}

TEST(HostileRendezvous, AHelloWithARandomByteFlippedLeavesTheBrokerWell) {
  Bystander others;
  std::mt19937_64 random(seed());
  for (int i = 0; i < 150; ++i) {
    shm::Hello hello = good_hello();
    std::array<std::byte, sizeof(hello)> bytes;
    std::memcpy(bytes.data(), &hello, sizeof(hello));
    bytes[random() % bytes.size()] ^= static_cast<std::byte>(1 + random() % 255);
    (void)say(others.broker(), bytes);
  }
  others.expect_unharmed();
}

TEST(HostileRendezvous, DescriptorsSentWithTheHelloAreClosed) {
  Bystander others;
  const shm::Hello hello = good_hello();
  const std::array<int, 4> fds{0, 1, 2, 0};
  for (std::size_t count = 1; count <= fds.size(); ++count) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(say(others.broker(), shm::wire_bytes(hello), std::span(fds).first(count)),
                Errc::protocol);
    }
  }
  others.expect_unharmed();
}

/// Why a handshake ended that had its Welcome already.
Errc closed_with(const shm::UniqueFd& socket) {
  std::array<std::byte, shm::kWireBytesMax> buffer;
  const auto last = shm::receive_message(socket.get(), buffer, 2, watchdog());
  if (!last) {
    return last.error().code;
  }
  const auto closing = shm::parse_closing(std::span(buffer).first(last.value().bytes));
  EXPECT_TRUE(closing);
  EXPECT_EQ(shm::receive_message(socket.get(), buffer, 2, watchdog()).error().code,
            Errc::disconnected);
  return closing ? closing.value().status : Errc::internal;
}

TEST(HostileRendezvous, HelloTwiceIsRefused) {
  Bystander others;
  {
    const shm::UniqueFd socket = connect_to(others.broker());
    const shm::Hello hello = good_hello();
    (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    std::array<std::byte, shm::kWireBytesMax> buffer;
    EXPECT_TRUE(shm::receive_message(socket.get(), buffer, 2, watchdog()));  // the welcome
    EXPECT_EQ(closed_with(socket), Errc::protocol);
  }
  others.expect_unharmed();
}

TEST(HostileRendezvous, MappedOfAnotherSessionIsRefused) {
  Bystander others;
  {
    const shm::UniqueFd socket = connect_to(others.broker());
    const shm::Hello hello = good_hello();
    (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    std::array<std::byte, shm::kWireBytesMax> buffer;
    EXPECT_TRUE(shm::receive_message(socket.get(), buffer, 2, watchdog()));
    const shm::Mapped mapped{.session = 0x1'0000'0001};
    (void)shm::send_message(socket.get(), shm::wire_bytes(mapped), {}, watchdog());
    EXPECT_EQ(closed_with(socket), Errc::protocol);
  }
  others.expect_unharmed();
}

TEST(HostileRendezvous, PeersThatVanishAtEachStepLeaveNothing) {
  Bystander others;
  const shm::Hello hello = good_hello();
  std::array<std::byte, shm::kWireBytesMax> buffer;
  for (int i = 0; i < 20; ++i) {
    (void)connect_to(others.broker());  // says nothing
    {
      const shm::UniqueFd socket = connect_to(others.broker());
      (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    }  // gone before the welcome
    const shm::UniqueFd socket = connect_to(others.broker());
    (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    EXPECT_TRUE(shm::receive_message(socket.get(), buffer, 2, watchdog()));
  }  // gone with the descriptors
  others.expect_unharmed();
}

TEST(HostileRendezvous, ManyConnectionsThatSayNothingAreBoundedAndOthersStillAttach) {
  Bystander others;
  {
    std::vector<shm::UniqueFd> silent;
    for (int i = 0; i < 200; ++i) {
      silent.push_back(connect_to(others.broker()));
    }
    Client another = others.broker().client();
    expect_echo(another, pattern(10));
    EXPECT_LT(others.broker().descriptors(), 300U);
  }
  others.expect_unharmed();
}

/// What a peer that said nothing was told.
Errc told(const shm::UniqueFd& socket) {
  std::array<std::byte, shm::kWireBytesMax> buffer;
  const auto answer = shm::receive_message(socket.get(), buffer, 2, watchdog());
  if (!answer) {
    return answer.error().code;
  }
  const auto welcome =
      shm::parse_welcome(std::span(buffer).first(answer.value().bytes), shm::Role::client);
  EXPECT_TRUE(welcome);
  return welcome ? welcome.value().status : Errc::internal;
}

TEST(HostileRendezvous, WithTooManyHandshakesTheOldestIsToldBusyAndNotWhoeverComes) {
  Bystander others;
  {
    std::vector<shm::UniqueFd> silent;
    for (int i = 0; i < 256; ++i) {
      silent.push_back(connect_to(others.broker()));
    }
    (void)wait_until([&] { return others.broker().descriptors() > 256; }, "all to be accepted");
    Client another = others.broker().client();
    expect_echo(another, pattern(100));
    EXPECT_EQ(told(silent.front()), Errc::busy);
    expect_echo(others.client(), pattern(100));
  }
  others.expect_unharmed();
}

/// The log's lines with `text`, and what was swallowed of such.
struct Lines {
  std::size_t written = 0;
  std::size_t swallowed = 0;
};
Lines lines_of(const Broker& broker, const std::string& text, const std::string& kind) {
  Lines lines;
  for (const std::string& line : broker.log_lines(text)) {
    ++lines.written;
    lines.swallowed += std::stoul("0" + field_of(line, "swallowed"));
  }
  for (const std::string& line : broker.log_lines("swallowed kind=\"" + kind)) {
    lines.swallowed += std::stoul("0" + field_of(line, "lines"));
  }
  return lines;
}

TEST(HostileRendezvous, TenThousandThatSayNothingKeepNobodyOutAndDoNotFloodTheLog) {
  constexpr std::size_t kAll = 10'000;
  constexpr std::size_t kHeld = 600;
  Bystander others;
  const Broker& broker = others.broker();
  {
    std::deque<shm::UniqueFd> silent;
    for (std::size_t i = 1; i <= kAll; ++i) {
      silent.push_back(connect_to(broker));
      if (silent.size() > kHeld) {
        silent.pop_front();
      }
      if (i % 1000 == 0) {
        Client another = broker.client();
        expect_echo(another, pattern(10));
        EXPECT_LT(broker.descriptors(), 400U);
      }
    }
  }
  others.expect_unharmed();
  // Those that hung up by themselves are no lines.
  const std::string text = "too many handshakes";
  EXPECT_TRUE(wait_until(
      [&] {
        const Lines lines = lines_of(broker, text, "refused: busy");
        return lines.written + lines.swallowed > kHeld - 256;
      },
      "those that were turned away to be counted"));
  EXPECT_LT(lines_of(broker, text, "refused: busy").written, kAll / 10);
}

TEST(HostileRendezvous, AFloodOfOneKindOfNonsenseHidesNoOtherInTheLog) {
  constexpr std::size_t kFlood = 1000;
  Bystander others;
  const Broker& broker = others.broker();
  for (std::size_t i = 0; i < kFlood; ++i) {
    EXPECT_EQ(say(broker, pattern(20)), Errc::protocol);
  }
  EXPECT_EQ(say_hello(broker, [](shm::Hello& h) { h.protocol_major = 2; }), Errc::version_mismatch);
  (void)broker.wait_for_log("version mismatch");
  const std::string kind = "refused: protocol violation";
  EXPECT_TRUE(wait_until(
      [&] {
        const Lines lines = lines_of(broker, "does not follow the protocol", kind);
        return lines.written + lines.swallowed == kFlood;
      },
      "every refusal to be counted"));
  EXPECT_LT(lines_of(broker, "does not follow the protocol", kind).written, kFlood / 2);
  others.expect_unharmed();
}

TEST(HostileRendezvous, AWritableMappingOfAPeersSegmentIsImpossibleOnceItIsAttached) {
  // The descriptor that a peer keeps from its handshake is worth nothing to it.
  Bystander others;
  {
    const shm::UniqueFd socket = connect_to(others.broker());
    const shm::Hello hello = good_hello();
    (void)shm::send_message(socket.get(), shm::wire_bytes(hello), {}, watchdog());
    std::array<std::byte, shm::kWireBytesMax> buffer;
    auto answer = shm::receive_message(socket.get(), buffer, 2, watchdog());
    ASSERT_TRUE(answer);
    const auto welcome =
        shm::parse_welcome(std::span(buffer).first(answer.value().bytes), shm::Role::client);
    ASSERT_TRUE(welcome);
    const int theirs = answer.value().fds[0].get();
    const int ours = answer.value().fds[1].get();
    EXPECT_FALSE(shm::Mapping::map(theirs, shm::kPageBytes, shm::Access::read_write));
    const shm::Mapped mapped{.session = welcome.value().session};
    (void)shm::send_message(socket.get(), shm::wire_bytes(mapped), {}, watchdog());
    EXPECT_TRUE(shm::receive_message(socket.get(), buffer, 0, watchdog()));  // ready
    EXPECT_FALSE(shm::Mapping::map(ours, shm::kPageBytes, shm::Access::read_write));
    EXPECT_EQ(ftruncate(ours, 0), -1);
    EXPECT_EQ(ftruncate(theirs, 0), -1);
  }
  others.expect_unharmed();
}

}  // namespace
}  // namespace mserve::test
