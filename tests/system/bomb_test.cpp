// SPDX-License-Identifier: Apache-2.0
// kdb+ messages that are made to hurt, from a client at the gateway and from a q behind a shim:
// that connection is closed with a reason, memory stays bounded, everybody else goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "mserve/kdb/compress.hpp"
#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "support/shim_process.hpp"
#include "support/sizes.hpp"
#include "support/test_gateway.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

void put_length(Bytes& message, std::uint32_t bytes) {
  std::memcpy(message.data() + 4, &bytes, sizeof(bytes));
}

/// A message whose object is lists within lists, each of one item.
Bytes nested(std::size_t depth, MessageKind kind) {
  Bytes message = kdb::encode_message(Value::int_atom(1), kind);
  const Bytes level{std::byte{0}, std::byte{0}, std::byte{1},
                    std::byte{0}, std::byte{0}, std::byte{0}};
  Bytes levels;
  levels.reserve(depth * level.size());
  for (std::size_t i = 0; i < depth; ++i) {
    levels.insert(levels.end(), level.begin(), level.end());
  }
  message.insert(message.begin() + kdb::kHeaderBytes, levels.begin(), levels.end());
  put_length(message, static_cast<std::uint32_t>(message.size()));
  return message;
}

Bytes compressed(const Bytes& message) {
  const auto small = kdb::compress(message);
  EXPECT_TRUE(small);
  return small.value_or(Bytes{});
}

/// Compressed, and says that it becomes so large.
Bytes claims(std::uint32_t bytes, MessageKind kind) {
  Bytes message = compressed(kdb::encode_message(text(std::string(500'000, 'x')), kind));
  std::memcpy(message.data() + kdb::kHeaderBytes, &bytes, sizeof(bytes));
  return message;
}

Bytes bomb(std::size_t bytes, MessageKind kind) {
  return compressed(kdb::encode_message(text(std::string(bytes, 'x')), kind));
}

/// Says that it has so many bytes, and ends after a few.
Bytes unfinished(std::uint32_t bytes, MessageKind kind) {
  Bytes message = kdb::encode_message(text("abc"), kind);
  put_length(message, bytes);
  return message;
}

struct Hostile {
  const char* name;
  Bytes message;
};

std::vector<Hostile> hostile_messages(MessageKind kind) {
  Bytes count = kdb::encode_message(text(std::string(1000, 'x')), kind);
  count[kdb::kHeaderBytes + 5] = std::byte{0x7f};
  return {{"a list in twenty thousand", nested(20'000, kind)},
          {"a list in two hundred thousand", nested(200'000, kind)},
          {"compressed, and nested inside", compressed(nested(200'000, kind))},
          {"compressed, larger than what is held", bomb(30 * kMiB, kind)},
          {"compressed, claims four gigabytes", claims(0xffff'fff0, kind)},
          {"compressed, claims a megabyte and has half", claims(kMiB, kind)},
          {"a count beyond its bytes", count},
          {"larger than any message may be", unfinished(0x7fff'ffff, kind)}};
}

std::uint64_t peak_bytes(const Broker& broker) {
  const std::string status = read_file("/proc/" + std::to_string(broker.pid()) + "/status");
  const std::size_t at = status.find("VmHWM:");
  return at == std::string::npos ? 0 : std::stoull(status.substr(at + 6)) * 1024;
}

TEST(Bomb, AtTheGatewayEndsItsConnectionAndTakesLittleMemory) {
  const Broker broker(with_gateway({"--max-gathered", "2m", "--max-message", "64m"}));
  RawClient bystander = connect(broker);
  ASSERT_EQ(bystander.query("echo 1"), Value::long_atom(1));
  const std::uint64_t before = peak_bytes(broker);
  for (const Hostile& hostile : hostile_messages(MessageKind::sync)) {
    // Several at once, so that what each takes would add up.
    std::vector<RawClient> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(connect(broker));
      (void)clients.back().send_bytes(hostile.message);
    }
    for (RawClient& client : clients) {
      const auto answered = client.receive();
      EXPECT_TRUE(answered && (answered->value == Value::error("badmsg") ||
                               answered->value == Value::error("limit")))
          << hostile.name;
      EXPECT_TRUE(client.closed_by_peer()) << hostile.name;
    }
    EXPECT_EQ(bystander.query("echo 1"), Value::long_atom(1)) << hostile.name;
  }
  EXPECT_LT(peak_bytes(broker) - before, (kSanitized ? 512 : 24) * kMiB);
  EXPECT_FALSE(broker.wait_for_log("reason=\"badmsg: nested too deep\"").empty());
  EXPECT_FALSE(broker.wait_for_log("reason=\"limit").empty());
}

TEST(Bomb, FromAQFailsThatRequestAndTakesLittleMemory) {
  const std::vector<Hostile> messages = hostile_messages(MessageKind::response);
  std::atomic<std::size_t> asked{0};
  TestGateway q([&](GatewayConnection& connection, int) {
    if (!connection.welcome(3)) {
      return;
    }
    const auto say = [&](const Value& value) {
      return connection.write(kdb::encode_message(value, MessageKind::response));
    };
    bool first = true;  // the shim asks which process it is
    while (const auto message = connection.take_message()) {
      if (std::exchange(first, false)) {
        (void)say(Value::error("access"));
      } else if (message->value == text("")) {  // and, when it has nothing else, whether it lives
        (void)say(Value::null());
      } else if (asked.load(std::memory_order_acquire) < messages.size()) {
        (void)connection.write(messages[asked.fetch_add(1, std::memory_order_acq_rel)].message);
        return;
      } else {
        (void)say(Value::long_atom(42));
      }
    }
  });
  const Broker broker;
  const ShimProcess shim(broker, q.port(), {"--servant-protocol", "plain", "--max-gathered", "2m"});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  QueryOptions once;
  once.repeatable = false;
  const auto ask = [&] { return query(client, "echo 1", once, watchdog()); };
  for (const Hostile& hostile : messages) {
    const auto answer = ask();
    EXPECT_TRUE(!answer || answer.value().is_error()) << hostile.name;
    broker.wait_for_counter("running", 0);
  }
  EXPECT_TRUE(wait_until(
      [&] {
        const auto answer = ask();
        return answer && answer.value().result == Value::long_atom(42);
      },
      "an honest answer"));
  EXPECT_LT(shim.peak_bytes(), (kSanitized ? 512 : 48) * kMiB);
  EXPECT_FALSE(shim.log().empty());
}

}  // namespace
}  // namespace mserve::test
