// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/rendezvous.hpp"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "mserve/shm/segment.hpp"
#include "support/seed.hpp"

namespace mserve::shm {
namespace {

constexpr std::uint64_t kSession = (std::uint64_t{3} << 32) | 17;

Hello good_hello(Role role) {
  Hello hello;
  hello.role = role;
  hello.credit = role == Role::servant ? 2 : 0;
  hello.ring_bytes = 65536;
  EXPECT_TRUE(set_text(hello.name, "desk-7.alpha_1"));
  EXPECT_TRUE(set_text(hello.tags, "gpu version=canary"));
  EXPECT_TRUE(set_text(hello.user, "alice"));
  EXPECT_TRUE(set_text(hello.password, "s\xc3\xa4 cret"));
  return hello;
}

Welcome good_welcome(Role role) {
  Welcome w;
  w.session = kSession;
  w.broker_epoch = 5;
  w.broker_pid = 4321;
  EXPECT_TRUE(set_text(w.route_rule, "arg:1"));
  EXPECT_TRUE(set_text(w.counters_name, "mserve-default-0.1"));
  EXPECT_TRUE(set_text(w.broker_version, "0.1.0 (test)"));
  if (role != Role::observer) {
    w.ring_start = ring_start(17);
    w.message_bytes_max = std::uint64_t{1} << 30;
    w.to_peer_ring_bytes = 65536;
    w.to_broker_ring_bytes = 1U << 20;
    w.frame_bytes_max = 1U << 18;
  }
  if (role == Role::client) {
    w.control_bytes = kControlRingBytes;
    w.window_bytes = 32768;
  }
  if (role == Role::servant) {
    w.credit = 1;
    w.servant = 1;
  }
  return w;
}

Welcome refusal() {
  Welcome w;
  w.status = Errc::access;
  set_reason(w.reason, "user bob may not attach");
  return w;
}

template <class T>
Errc code(const Result<T>& result) {
  return result ? Errc::ok : result.error().code;
}
Errc parse(const Hello& m) {
  return code(parse_hello(wire_bytes(m)));
}
Errc parse(const Welcome& m, Role role) {
  return code(parse_welcome(wire_bytes(m), role));
}
Errc parse(const Closing& m) {
  return code(parse_closing(wire_bytes(m)));
}

constexpr std::array kRoles = {Role::client, Role::servant, Role::observer};

TEST(Rendezvous, GoodMessagesAreAcceptedUnchanged) {
  for (const Role role : kRoles) {
    const Hello hello = good_hello(role);
    const Result<Hello> parsed = parse_hello(wire_bytes(hello));
    ASSERT_TRUE(parsed) << parsed.error().where;
    EXPECT_EQ(std::memcmp(&parsed.value(), &hello, sizeof(hello)), 0);
    const Welcome welcome = good_welcome(role);
    const Result<Welcome> answered = parse_welcome(wire_bytes(welcome), role);
    ASSERT_TRUE(answered) << answered.error().where;
    EXPECT_EQ(std::memcmp(&answered.value(), &welcome, sizeof(welcome)), 0);
    EXPECT_EQ(text_of(answered.value().route_rule), "arg:1");
    EXPECT_EQ(parse(refusal(), role), Errc::ok);
  }
  Welcome ruled = good_welcome(Role::client);
  const std::string longest = "option:" + std::string(56, 'k');  // of the routing rules
  ASSERT_TRUE(set_text(ruled.route_rule, longest));
  EXPECT_EQ(text_of(parse_welcome(wire_bytes(ruled), Role::client).value().route_rule), longest);
  const Mapped mapped{.session = kSession};
  EXPECT_TRUE(parse_mapped(wire_bytes(mapped), kSession));
  const Ready ready{.session = kSession};
  EXPECT_TRUE(parse_ready(wire_bytes(ready), kSession));
  Closing closing;
  EXPECT_EQ(parse(closing), Errc::ok);
  set_reason(closing.reason, "drained");
  EXPECT_EQ(parse(closing), Errc::ok);
}

TEST(Rendezvous, DefaultMessagesAreWellFormedWhereTheyCanBe) {
  EXPECT_EQ(parse(Hello{}), Errc::ok);
  EXPECT_EQ(parse(Welcome{}, Role::client), Errc::protocol) << "a grant without a session";
}

TEST(Rendezvous, HelloWithAnyBadFieldIsRefused) {
  const std::vector<std::pair<const char*, std::function<void(Hello&)>>> lies = {
      {"magic", [](Hello& h) { ++h.header.magic; }},
      {"type", [](Hello& h) { h.header.type = WireType::welcome; }},
      {"no type", [](Hello& h) { h.header.type = static_cast<WireType>(0); }},
      {"length", [](Hello& h) { ++h.header.bytes; }},
      {"role 0", [](Hello& h) { h.role = static_cast<Role>(0); }},
      {"role 5", [](Hello& h) { h.role = static_cast<Role>(5); }},
      {"flags", [](Hello& h) { h.flags = 1; }},
      {"tier 4",
       [](Hello& h) {
         h.role = Role::servant;
         h.flags = kTierMax + 1;
       }},
      {"a high flag",
       [](Hello& h) {
         h.role = Role::servant;
         h.flags = 0x80000001;
       }},
      {"ring odd", [](Hello& h) { h.ring_bytes = 65537; }},
      {"ring small", [](Hello& h) { h.ring_bytes = kRingBytesMin / 2; }},
      {"ring large", [](Hello& h) { h.ring_bytes = kRingBytesMax * 2; }},
      {"credit", [](Hello& h) { h.credit = kCreditMax + 1; }},
      {"servant credit",
       [](Hello& h) {
         h.role = Role::servant;
         h.credit = 0;
       }},
      {"name full", [](Hello& h) { std::memset(h.name, 'a', sizeof(h.name)); }},
      {"name slash", [](Hello& h) { h.name[0] = '/'; }},
      {"name tail",
       [](Hello& h) {
         h.name[63] = 'x';
         h.name[10] = 0;
       }},
      {"tags newline", [](Hello& h) { h.tags[1] = '\n'; }},
      {"tags full", [](Hello& h) { std::memset(h.tags, 'a', sizeof(h.tags)); }},
      {"user space", [](Hello& h) { h.user[1] = ' '; }},
      {"user high", [](Hello& h) { h.user[1] = '\xff'; }},
      {"password control", [](Hello& h) { h.password[0] = '\x7f'; }},
      {"password tail", [](Hello& h) { h.password[127] = 'x'; }},
  };
  for (const auto& [name, lie] : lies) {
    Hello hello = good_hello(Role::client);
    lie(hello);
    EXPECT_EQ(parse(hello), Errc::protocol) << name;
  }
}

TEST(Rendezvous, AServantMayBeOfAnyTier) {
  for (std::uint32_t tier = 0; tier <= kTierMax; ++tier) {
    Hello hello = good_hello(Role::servant);
    hello.flags = tier;
    EXPECT_EQ(parse(hello), Errc::ok) << tier;
  }
}

TEST(Rendezvous, WelcomeWithAnyBadFieldIsRefused) {
  struct Lie {
    const char* name;
    std::function<void(Welcome&)> tell;
    std::vector<Role> roles = {Role::client, Role::servant, Role::observer};
  };
  const std::vector<Role> ringed = {Role::client, Role::servant};
  const std::vector<Lie> lies = {
      {"magic", [](Welcome& w) { w.header.magic = 0; }},
      {"type", [](Welcome& w) { w.header.type = WireType::hello; }},
      {"length", [](Welcome& w) { --w.header.bytes; }},
      {"status", [](Welcome& w) { w.status = static_cast<Errc>(8); }},
      {"refusal with session", [](Welcome& w) { w.status = Errc::busy; }},
      {"wake mode 0", [](Welcome& w) { w.wake_mode = static_cast<WakeMode>(0); }},
      {"wake mode 3", [](Welcome& w) { w.wake_mode = static_cast<WakeMode>(3); }},
      {"generation", [](Welcome& w) { w.session = 17; }},
      {"epoch", [](Welcome& w) { w.broker_epoch = 0; }},
      {"start", [](Welcome& w) { w.ring_start += 8; }},
      {"message 0", [](Welcome& w) { w.message_bytes_max = 0; }, ringed},
      {"message large", [](Welcome& w) { w.message_bytes_max = kMessageBytesLimit + 1; }},
      {"window 0", [](Welcome& w) { w.window_bytes = 0; }, {Role::client}},
      {"window large", [](Welcome& w) { w.window_bytes = kMessageBytesLimit + 1; }},
      {"window of others", [](Welcome& w) { w.window_bytes = 1; }, {Role::servant, Role::observer}},
      {"to peer", [](Welcome& w) { w.to_peer_ring_bytes += 1; }},
      {"to peer 0", [](Welcome& w) { w.to_peer_ring_bytes = 0; }, ringed},
      {"to peer large", [](Welcome& w) { w.to_peer_ring_bytes = kRingBytesMax * 2; }},
      {"to broker", [](Welcome& w) { w.to_broker_ring_bytes += 64; }},
      {"to broker small", [](Welcome& w) { w.to_broker_ring_bytes = kRingBytesMin / 2; }},
      {"control odd", [](Welcome& w) { w.control_bytes = 4097; }},
      {"control large", [](Welcome& w) { w.control_bytes = kControlRingBytesMax * 2; }},
      {"control 0", [](Welcome& w) { w.control_bytes = 0; }, {Role::client}},
      {"frame small", [](Welcome& w) { w.frame_bytes_max = 8; }},
      {"frame large", [](Welcome& w) { w.frame_bytes_max = w.to_broker_ring_bytes / 4 + 1; }},
      {"credit 0", [](Welcome& w) { w.credit = 0; }, {Role::servant}},
      {"credit large", [](Welcome& w) { w.credit = kCreditMax + 1; }},
      {"credit of others", [](Welcome& w) { w.credit = 1; }, {Role::client, Role::observer}},
      {"servant 0", [](Welcome& w) { w.servant = 0; }, {Role::servant}},
      {"servant of others", [](Welcome& w) { w.servant = 1; }, {Role::client, Role::observer}},
      {"pid", [](Welcome& w) { w.broker_pid = 0; }},
      {"pid negative", [](Welcome& w) { w.broker_pid = -1; }},
      {"route", [](Welcome& w) { w.route_rule[1] = ' '; }},
      {"route full", [](Welcome& w) { std::memset(w.route_rule, 'a', sizeof(w.route_rule)); }},
      {"counters", [](Welcome& w) { w.counters_name[0] = '/'; }},
      {"counters tail", [](Welcome& w) { w.counters_name[95] = 'x'; }},
      {"version", [](Welcome& w) { w.broker_version[0] = '\x1b'; }},
      {"reason", [](Welcome& w) { w.reason[0] = 'x'; }},
  };
  for (const Lie& lie : lies) {
    for (const Role role : lie.roles) {
      Welcome welcome = good_welcome(role);
      lie.tell(welcome);
      EXPECT_EQ(parse(welcome, role), Errc::protocol)
          << lie.name << " for role " << static_cast<unsigned>(role);
    }
  }
}

TEST(Rendezvous, AWelcomeForAnotherRoleIsRefused) {
  for (const Role said : kRoles) {
    for (const Role answered : kRoles) {
      EXPECT_EQ(parse(good_welcome(answered), said) == Errc::ok, said == answered);
    }
  }
}

TEST(Rendezvous, AnotherMajorIsAMismatchWhateverElseDiffers) {
  Hello hello = good_hello(Role::client);
  hello.protocol_major = kProtocolMajor + 1;
  hello.role = static_cast<Role>(77);
  EXPECT_EQ(parse(hello), Errc::version_mismatch);
  // A message of another major may have another size altogether.
  hello.header.bytes = 100;
  EXPECT_EQ(code(parse_hello(wire_bytes(hello).first(100))), Errc::version_mismatch);
  hello = good_hello(Role::client);
  hello.layout_major = kLayoutMajor + 1;
  EXPECT_EQ(parse(hello), Errc::version_mismatch);
  Welcome welcome = refusal();
  welcome.protocol_major = 0;
  EXPECT_EQ(parse(welcome, Role::client), Errc::version_mismatch);
}

TEST(Rendezvous, ALaterMinorMayBeLongerAndTheSameMinorMayNot) {
  Hello hello = good_hello(Role::client);
  std::vector<std::byte> bytes(sizeof(hello) + 16);
  hello.header.bytes = static_cast<std::uint16_t>(bytes.size());
  std::memcpy(bytes.data(), &hello, sizeof(hello));
  EXPECT_EQ(code(parse_hello(bytes)), Errc::protocol);
  hello.protocol_minor = kProtocolMinor + 1;
  std::memcpy(bytes.data(), &hello, sizeof(hello));
  EXPECT_EQ(code(parse_hello(bytes)), Errc::ok);
}

TEST(Rendezvous, EveryTruncationIsRefused) {
  const auto refuse_all = [](auto message, auto parse_it) {
    std::vector<std::byte> whole(wire_bytes(message).begin(), wire_bytes(message).end());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // Once with the old length inside, once with a length that agrees.
      std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_NE(parse_it(cut), Errc::ok) << size;
      if (size >= sizeof(WireHeader)) {
        const auto length = static_cast<std::uint16_t>(size);
        std::memcpy(cut.data() + offsetof(WireHeader, bytes), &length, sizeof(length));
        EXPECT_NE(parse_it(cut), Errc::ok) << size;
      }
    }
  };
  using Bytes = std::span<const std::byte>;
  refuse_all(good_hello(Role::client), [](Bytes b) { return code(parse_hello(b)); });
  refuse_all(good_welcome(Role::client),
             [](Bytes b) { return code(parse_welcome(b, Role::client)); });
  refuse_all(Mapped{.session = kSession}, [](Bytes b) { return code(parse_mapped(b, kSession)); });
  refuse_all(Ready{.session = kSession}, [](Bytes b) { return code(parse_ready(b, kSession)); });
  refuse_all(Closing{}, [](Bytes b) { return code(parse_closing(b)); });
  refuse_all(Control{}, [](Bytes b) { return code(parse_control(b)); });
  refuse_all(ControlReply{}, [](Bytes b) { return code(parse_control_reply(b)); });
}

TEST(Rendezvous, ControlRequestsAreHeldToTheirBounds) {
  Control control;
  control.verb = Verb::drain;
  control.count = UINT32_MAX;
  ASSERT_TRUE(set_text(control.target, "tag:version=1"));
  const auto parse_it = [&] { return code(parse_control(wire_bytes(control))); };
  EXPECT_EQ(parse_it(), Errc::ok);
  control.verb = static_cast<Verb>(99);
  EXPECT_EQ(parse_it(), Errc::ok) << "of a later minor, perhaps: the broker refuses it in words";
  control.reserved = 1;
  EXPECT_EQ(parse_it(), Errc::protocol);
  control = Control{};
  control.protocol_major = 2;
  EXPECT_EQ(parse_it(), Errc::version_mismatch);
  control = Control{};
  control.target[3] = 'x';
  EXPECT_EQ(parse_it(), Errc::protocol) << "behind the end";
  control = Control{};
  std::memset(control.target, 'x', sizeof(control.target));
  EXPECT_EQ(parse_it(), Errc::protocol) << "without an end";
  control = Control{};
  control.target[0] = '\n';
  EXPECT_EQ(parse_it(), Errc::protocol) << "it goes to the log";
  const Hello hello = good_hello(Role::client);
  EXPECT_EQ(code(parse_control(wire_bytes(hello))), Errc::protocol);
  EXPECT_EQ(code(parse_hello(wire_bytes(Control{}))), Errc::protocol);
}

TEST(Rendezvous, ControlRepliesAreHeldToTheirBounds) {
  ControlReply reply;
  reply.table_bytes = kControlTableBytesMax;
  const auto parse_it = [&] { return code(parse_control_reply(wire_bytes(reply))); };
  EXPECT_EQ(parse_it(), Errc::ok);
  reply.status = Errc::invalid;
  EXPECT_EQ(parse_it(), Errc::ok) << "it says all that is wrong";
  reply.status = Errc::busy;
  EXPECT_EQ(parse_it(), Errc::protocol) << "another refusal has no table";
  reply.status = Errc::ok;
  reply.table_bytes += 1;
  EXPECT_EQ(parse_it(), Errc::protocol);
  reply = ControlReply{};
  reply.status = static_cast<Errc>(999);
  EXPECT_EQ(parse_it(), Errc::protocol);
  reply = ControlReply{};
  reply.text[0] = '\x1b';
  EXPECT_EQ(parse_it(), Errc::protocol) << "it goes to a terminal";
}

TEST(Rendezvous, AcknowledgementsOfAnotherSessionAreRefused) {
  const Mapped mapped{.session = kSession};
  EXPECT_EQ(code(parse_mapped(wire_bytes(mapped), kSession + 1)), Errc::protocol);
  EXPECT_EQ(code(parse_ready(wire_bytes(mapped), kSession)), Errc::protocol) << "another type";
  const Ready ready{.session = kSession};
  EXPECT_EQ(code(parse_ready(wire_bytes(ready), 0)), Errc::protocol);
}

TEST(Rendezvous, ClosingWithAnyBadFieldIsRefused) {
  Closing closing;
  closing.status = Errc::ok;
  EXPECT_EQ(parse(closing), Errc::protocol);
  closing.status = static_cast<Errc>(999);
  EXPECT_EQ(parse(closing), Errc::protocol);
  closing = Closing{};
  closing.reserved[2] = 1;
  EXPECT_EQ(parse(closing), Errc::protocol);
  closing = Closing{};
  closing.reason[0] = '\n';
  EXPECT_EQ(parse(closing), Errc::protocol);
  closing = Closing{};
  closing.reason[127] = 'x';
  EXPECT_EQ(parse(closing), Errc::protocol);
}

TEST(Rendezvous, RandomBytesAreNeverAccepted) {
  std::mt19937_64 random(test::seed());
  std::array<std::byte, kWireBytesMax + 8> bytes{};
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t size = random() % (bytes.size() + 1);
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<std::byte>(random());
    }
    const std::span<const std::byte> message(bytes.data(), size);
    ASSERT_FALSE(parse_wire_header(message));
    ASSERT_FALSE(parse_hello(message));
    ASSERT_FALSE(parse_welcome(message, Role::client));
    ASSERT_FALSE(parse_mapped(message, kSession));
    ASSERT_FALSE(parse_ready(message, kSession));
    ASSERT_FALSE(parse_closing(message));
    ASSERT_FALSE(parse_control(message));
    ASSERT_FALSE(parse_control_reply(message));
  }
}

TEST(Rendezvous, RandomBodiesBehindAGoodHeadKeepTheirPromises) {
  // Goal: whatever is accepted is within its bounds. Method: a good message with a few bytes
  // changed.
  std::mt19937_64 random(test::seed());
  for (int round = 0; round < 20'000; ++round) {
    Welcome welcome = good_welcome(Role::client);
    std::array<std::byte, sizeof(welcome)> bytes{};
    std::memcpy(bytes.data(), &welcome, sizeof(welcome));
    for (std::uint64_t i = random() % 4; i < 4; ++i) {
      bytes[sizeof(WireHeader) + random() % (sizeof(welcome) - sizeof(WireHeader))] =
          static_cast<std::byte>(random());
    }
    const Result<Welcome> parsed = parse_welcome(bytes, Role::client);
    if (parsed && parsed.value().status == Errc::ok) {
      const Welcome& w = parsed.value();
      ASSERT_LE(segment_bytes(w.to_broker_ring_bytes, w.control_bytes), kSegmentBytesMax);
      ASSERT_LE(segment_bytes(w.to_peer_ring_bytes, 0), kSegmentBytesMax);
      ASSERT_LE(w.frame_bytes_max, w.to_broker_ring_bytes / 4);
      ASSERT_LT(text_of(w.route_rule).size(), sizeof(w.route_rule));
      ASSERT_LT(text_of(w.reason).size(), sizeof(w.reason));
    }
  }
}

TEST(Rendezvous, TextsAreFilledWholeOrNotAtAll) {
  char field[8];
  EXPECT_TRUE(set_text(field, "1234567"));
  EXPECT_EQ(text_of(field), "1234567");
  EXPECT_FALSE(set_text(field, "12345678"));
  EXPECT_EQ(text_of(field), "");
  EXPECT_FALSE(set_text(field, std::string_view("a\0b", 3)));
  EXPECT_TRUE(set_text(field, ""));
  set_reason(field, "a\nb\xc3too long");
  EXPECT_EQ(text_of(field), "a?b?too");
}

}  // namespace
}  // namespace mserve::shm
