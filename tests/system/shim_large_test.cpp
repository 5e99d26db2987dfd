// SPDX-License-Identifier: Apache-2.0
// Large messages between clients and a q behind mserve-qshim.
#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "standin/standin.hpp"
#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "support/shim_process.hpp"
#include "support/sizes.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

constexpr std::uint64_t kPeakBytes = (kSanitized ? 1024 : 32) * kMiB;

// A machine that is busy with other tests may take more than a second to give q its next turn.
BrokerSetup patient() {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};
  return setup;
}

Value big(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::uint8_t>(i % 251);
  }
  return Value::bytes(std::move(bytes));
}

Result<OwnedReply> call_value(Client& client, const Value& value) {
  return client.call(kdb::encode(value), {}, watchdog());
}

TEST(ShimLarge, AReplyOf64MiBStreamsWithoutGrowingTheShim) {
  for (const Form form : {Form::plain, Form::lbt}) {
    StandinOptions options;
    options.form = form;
    Standin q(options);
    q.start();
    const Broker broker(patient());
    const ShimProcess shim(broker, q.port());
    broker.wait_for_counter("servants", 1);
    Client client = broker.client();
    const auto answer = query(client, "big " + std::to_string(64 * kMiB), {}, watchdog());
    ASSERT_TRUE(answer) << to_string(answer.error().code);
    EXPECT_EQ(answer.value().result, big(64 * kMiB));
    EXPECT_LT(shim.peak_bytes(), kPeakBytes);
  }
}

TEST(ShimLarge, ARequestOf16MiBStreamsAndItsEchoComesBack) {
  for (const Form form : {Form::plain, Form::lbt}) {
    StandinOptions options;
    options.form = form;
    Standin q(options);
    q.start();
    const Broker broker(patient());
    const ShimProcess shim(broker, q.port());
    broker.wait_for_counter("servants", 1);
    Client client = broker.client();
    const Value payload = big(16 * kMiB);
    const auto reply = call_value(client, Value::list({Value::symbol("echo"), payload}));
    ASSERT_TRUE(reply) << to_string(reply.error().code);
    EXPECT_EQ(reply.value()->status, Errc::ok);
    EXPECT_EQ(kdb::decode(reply.value()->payload).value(), payload);
    EXPECT_LT(shim.peak_bytes(), kPeakBytes);
  }
}

TEST(ShimLarge, ManySizesComeBackIdentical) {
  Standin q;
  q.start();
  const Broker broker(patient());
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::size_t frame = 256 * 1024 - 24;  // a servant's largest whole frame
  for (const std::size_t size :
       {frame - 40, frame - 12, frame - 6, frame, frame + 1, kMiB, 3 * kMiB + 1}) {
    const Value payload = big(size);
    const auto reply = call_value(client, Value::list({Value::symbol("echo"), payload}));
    ASSERT_TRUE(reply) << to_string(reply.error().code);
    EXPECT_EQ(kdb::decode(reply.value()->payload).value(), payload) << size;
  }
}

TEST(ShimLarge, MalformedRequestsCostNobodyElseTheirQ) {
  Standin q;
  q.start();
  const Broker broker(patient());
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const auto refused = [&](const std::vector<std::byte>& bytes) {
    const auto reply = client.call(bytes, {}, watchdog());
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply.value()->status, Errc::failed);
    EXPECT_EQ(kdb::decode(reply.value()->payload).value(), Value::error("badmsg"));
  };
  refused(std::vector<std::byte>(100, std::byte{3}));
  refused(std::vector<std::byte>(4 * kMiB, std::byte{3}));
  EXPECT_EQ(q.connections(), 1U);
  // Wrong only far inside: q has its first half by then, and another connection is made.
  std::vector<std::byte> late =
      kdb::encode(Value::list({Value::symbol("echo"), big(3 * kMiB), Value::long_atom(1)}));
  late[late.size() - 9] = std::byte{3};
  refused(late);
  const auto answer = query(client, "echo 42", {}, watchdog());
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_EQ(answer.value().result, Value::long_atom(42));
  EXPECT_EQ(q.connections(), 2U);
  EXPECT_EQ(shim.count("attached"), 1U);  // the session went on
}

TEST(ShimLarge, AClientThatDiesInALargeRequestCostsNobodyElseTheirAnswer) {
  Standin q;
  q.start();
  const Broker broker(patient());
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  {
    RawPeer dying = raw_client(broker);
    shm::FrameHeader request;
    request.id = 1;
    const std::vector<std::byte> bytes = kdb::encode(big(10'000'000));
    ASSERT_TRUE(dying.fragment(request, 0, bytes.size(),
                               std::vector<std::byte>(bytes.begin(), bytes.begin() + 4000)));
    broker.wait_for_counter("running", 1);
  }
  Client client = broker.client();
  QueryOptions once;
  once.repeatable = false;
  const auto answer = query(client, "echo 42", once, watchdog());
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_EQ(answer.value().result, Value::long_atom(42));
}

}  // namespace
}  // namespace mserve::test
