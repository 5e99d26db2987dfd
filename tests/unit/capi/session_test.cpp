// SPDX-License-Identifier: Apache-2.0
// Client and servant of the C interface at a real broker.
#include <gtest/gtest.h>
#include <poll.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mserve.h"
#include "support/broker_process.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

struct Disconnect {
  void operator()(mserve_client* client) const { mserve_client_disconnect(&client); }
};
struct Detach {
  void operator()(mserve_servant* servant) const { mserve_servant_detach(&servant); }
};
using ClientHandle = std::unique_ptr<mserve_client, Disconnect>;
using ServantHandle = std::unique_ptr<mserve_servant, Detach>;

constexpr mserve_send_options with(std::uint32_t format, std::uint32_t flags = 0) {
  mserve_send_options options = MSERVE_SEND_OPTIONS_INIT;
  options.format = format;
  options.flags = flags;
  return options;
}

constexpr mserve_send_options kOpaque = with(MSERVE_OPAQUE);
constexpr mserve_send_options kText = with(MSERVE_Q_TEXT);

ClientHandle connect(const Broker& broker, std::uint32_t flags = 0) {
  mserve_client_options options = MSERVE_CLIENT_OPTIONS_INIT;
  options.broker = broker.name().c_str();
  options.directory = broker.directory().c_str();
  options.flags = flags;
  mserve_client* client = nullptr;
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_OK) << mserve_last_error();
  return ClientHandle(client);
}

ServantHandle attach(const Broker& broker, std::uint32_t credit = 1, std::uint32_t flags = 0) {
  mserve_servant_options options = MSERVE_SERVANT_OPTIONS_INIT;
  options.broker = broker.name().c_str();
  options.directory = broker.directory().c_str();
  options.name = "made-in-c";
  options.group = "hdb";
  options.tags = "gpu zone=a";
  options.credit = credit;
  options.flags = flags;
  mserve_servant* servant = nullptr;
  EXPECT_EQ(mserve_servant_attach(&options, &servant), MSERVE_OK) << mserve_last_error();
  broker.wait_for_counter("servants", 1);  // a moment later
  return ServantHandle(servant);
}

std::string text_of(const void* payload, std::size_t bytes) {
  return {static_cast<const char*>(payload), bytes};
}

std::uint64_t send(mserve_client* client, const std::string& text, mserve_send_options options) {
  std::uint64_t id = 0;
  EXPECT_EQ(mserve_client_send(client, text.data(), text.size(), &options, kWatchdogNs, &id),
            MSERVE_OK)
      << mserve_last_error();
  return id;
}

mserve_reply await(mserve_client* client, std::uint64_t id) {
  mserve_reply reply = MSERVE_REPLY_INIT;
  EXPECT_EQ(mserve_client_await(client, id, kWatchdogNs, &reply), MSERVE_OK);
  EXPECT_EQ(reply.id, id);
  return reply;
}

mserve_request receive(mserve_servant* servant) {
  mserve_request request = MSERVE_REQUEST_INIT;
  EXPECT_EQ(mserve_servant_receive(servant, kWatchdogNs, &request), MSERVE_OK)
      << mserve_last_error();
  return request;
}

TEST(CClient, CallsInEveryFormatAndSaysWhoRanIt) {
  const Broker broker({.args = {}, .servants = 1});
  const ClientHandle client = connect(broker);
  mserve_reply reply = MSERVE_REPLY_INIT;
  ASSERT_EQ(mserve_client_call(client.get(), "abc", 3, &kOpaque, kWatchdogNs, &reply), MSERVE_OK);
  EXPECT_EQ(reply.format, std::uint32_t{MSERVE_OPAQUE});
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), "abc");
  EXPECT_EQ(reply.has_info, 0U);

  mserve_send_options options = with(MSERVE_Q_TEXT, MSERVE_WANT_INFO | MSERVE_REPEATABLE);
  ASSERT_EQ(mserve_client_call(client.get(), "echo 7", 6, &options, kWatchdogNs, &reply),
            MSERVE_OK);
  const std::string seven("\xf9\x07\0\0\0\0\0\0\0", 9);  // a long
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), seven);
  EXPECT_EQ(reply.has_info, 1U);
  EXPECT_GT(reply.elapsed_ns, 0U);
  EXPECT_GE(reply.elapsed_ns, reply.execution_ns);
  EXPECT_NE(std::string(reply.servant_name), "");

  // The same as an object, and with options for the servant behind it.
  const std::string object("\x0a\0\x06\0\0\0echo 7", 12);
  options = with(MSERVE_KDB);
  ASSERT_EQ(
      mserve_client_call(client.get(), object.data(), object.size(), &options, kWatchdogNs, &reply),
      MSERVE_OK);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), seven);
  const std::string pair = object + std::string("\x63\x0b\0\0\0\0\0\0\0\0\0\0\0", 13);  // ()!()
  options = with(MSERVE_KDB_PAIR);
  ASSERT_EQ(
      mserve_client_call(client.get(), pair.data(), pair.size(), &options, kWatchdogNs, &reply),
      MSERVE_OK);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), seven);

  ASSERT_EQ(mserve_client_call(client.get(), "nothing 1", 9, &kText, kWatchdogNs, &reply),
            MSERVE_OK);
  EXPECT_EQ(reply.status, MSERVE_FAILED);
  char text[64];
  mserve_reply_error(&reply, text, sizeof text);
  EXPECT_STREQ(text, "unknown command: `nothing");
}

TEST(CClient, SendsPollsWaitsAndCancelsWithinItsTime) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  const ServantHandle servant = attach(broker);
  mserve_reply reply = MSERVE_REPLY_INIT;
  EXPECT_EQ(mserve_client_wait(client.get(), 0), MSERVE_EMPTY) << "nothing is in flight";
  EXPECT_EQ(mserve_client_poll(client.get(), &reply), MSERVE_EMPTY);
  std::uint64_t id = 0;
  ASSERT_EQ(mserve_client_try_send(client.get(), nullptr, 0, &kOpaque, &id), MSERVE_OK);
  EXPECT_EQ(mserve_client_in_flight(client.get()), 1U);
  EXPECT_EQ(mserve_client_wait(client.get(), 0), MSERVE_TIMED_OUT);
  EXPECT_EQ(mserve_client_await(client.get(), id, 1'000'000, &reply), MSERVE_TIMED_OUT);
  EXPECT_EQ(mserve_client_await(client.get(), id + 1, 0, &reply), MSERVE_INVALID);
  const mserve_request request = receive(servant.get());
  EXPECT_EQ(request.payload_bytes, 0U);
  EXPECT_EQ(request.payload, nullptr);
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, "x", 1, MSERVE_OPAQUE), MSERVE_OK);
  EXPECT_EQ(mserve_client_wait(client.get(), MSERVE_FOREVER), MSERVE_OK);
  ASSERT_EQ(mserve_client_poll(client.get(), &reply), MSERVE_OK);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), "x");

  id = send(client.get(), "dropped", kOpaque);
  EXPECT_EQ(mserve_client_cancel(client.get(), id), MSERVE_OK);
  EXPECT_EQ(mserve_client_cancel(client.get(), id), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_call(client.get(), "late", 4, &kOpaque, 1'000'000, &reply),
            MSERVE_TIMED_OUT);
}

TEST(CClient, RefusesWhatIsOutOfRangeAndSendsNothing) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  std::uint64_t id = 0;
  std::vector<mserve_send_options> wrong(4, kOpaque);
  wrong[0].format = 4;
  wrong[1].priority = 4;
  wrong[2].flags = 4;
  wrong[3].size = 39;
  for (const mserve_send_options& options : wrong) {
    EXPECT_EQ(mserve_client_try_send(client.get(), "x", 1, &options, &id), MSERVE_INVALID);
  }
  EXPECT_EQ(mserve_client_send(client.get(), nullptr, 1, &kOpaque, 0, &id), MSERVE_INVALID);
  mserve_reply reply = MSERVE_REPLY_INIT;
  reply.size = 0;
  EXPECT_EQ(mserve_client_poll(client.get(), &reply), MSERVE_INVALID);
  const std::vector<char> large(mserve_client_try_payload_bytes_max(client.get()) + 1);
  EXPECT_EQ(mserve_client_try_send(client.get(), large.data(), large.size(), &kOpaque, &id),
            MSERVE_TOO_LARGE);
  EXPECT_EQ(mserve_client_in_flight(client.get()), 0U);
  EXPECT_GT(mserve_client_payload_bytes_max(client.get()), large.size());
}

TEST(CClient, AReplyFillsWhatALaterProgramHasRoomForAndClearsTheRest) {
  const Broker broker({.args = {}, .servants = 1});
  const ClientHandle client = connect(broker);
  struct LaterReply {
    mserve_reply known;
    std::uint64_t added;
  } later{MSERVE_REPLY_INIT, 77};
  later.known.size = sizeof later;
  ASSERT_EQ(mserve_client_call(client.get(), "abc", 3, &kOpaque, kWatchdogNs, &later.known),
            MSERVE_OK);
  EXPECT_EQ(later.known.size, sizeof later);
  EXPECT_EQ(text_of(later.known.payload, later.known.payload_bytes), "abc");
  EXPECT_EQ(later.added, 0U);
}

// The descriptor becomes readable when an answer comes, so a loop around poll(2) needs no time-out.
TEST(CClient, ServesAnEventLoopOfTheProgram) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  const ServantHandle servant = attach(broker);
  std::thread serving([&] {
    for (int i = 0; i < 20; ++i) {
      const mserve_request request = receive(servant.get());
      EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, request.payload,
                                     request.payload_bytes, MSERVE_OPAQUE),
                MSERVE_OK);
    }
  });
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t id = send(client.get(), "ping", kOpaque);
    mserve_reply reply = MSERVE_REPLY_INIT;
    while (mserve_client_poll(client.get(), &reply) != MSERVE_OK) {
      if (mserve_client_prepare_sleep(client.get()) != 0) {
        pollfd watched{mserve_client_fd(client.get()), POLLIN, 0};
        EXPECT_EQ(poll(&watched, 1, static_cast<int>(kWatchdogNs / 1'000'000)), 1);
      }
      mserve_client_finish_sleep(client.get());
    }
    EXPECT_EQ(reply.id, id);
  }
  serving.join();
}

// What is in flight completes, calls say so, and all goes on with the next broker.
TEST(CClient, SurvivesTheDeathOfItsBroker) {
  Broker broker;
  const ClientHandle client = connect(broker);
  stop(broker.pid());  // or it would say that there is no servant
  const std::uint64_t id = send(client.get(), "x", kOpaque);
  broker.kill();
  EXPECT_EQ(await(client.get(), id).status, MSERVE_DISCONNECTED);
  EXPECT_EQ(mserve_client_attached(client.get()), 0);
  mserve_reply reply = MSERVE_REPLY_INIT;
  EXPECT_EQ(mserve_client_poll(client.get(), &reply), MSERVE_NOT_ATTACHED);
  EXPECT_NE(std::string(mserve_last_error()), "not attached") << "and why";
  EXPECT_EQ(mserve_client_call(client.get(), "x", 1, &kOpaque, 0, &reply), MSERVE_NOT_ATTACHED);
  EXPECT_EQ(mserve_client_reconnect(client.get(), 0), MSERVE_NO_BROKER);
  broker.start();
  EXPECT_EQ(mserve_client_reconnect(client.get(), kWatchdogNs), MSERVE_OK);
  EXPECT_EQ(mserve_client_attached(client.get()), 1);
}

TEST(CClient, AnEndedHandleIsNullAndInvalid) {
  const Broker broker;
  mserve_client* client = connect(broker).release();
  mserve_client_disconnect(&client);
  EXPECT_EQ(client, nullptr);
  mserve_client_disconnect(&client);
  EXPECT_EQ(mserve_client_wait(client, 0), MSERVE_INVALID);
  mserve_servant* servant = attach(broker).release();
  mserve_servant_detach(&servant);
  EXPECT_EQ(servant, nullptr);
  mserve_servant_detach(&servant);
  EXPECT_EQ(mserve_servant_attached(servant), 0);
}

TEST(CServant, AttachesWithNameGroupTagsAndCreditAndAnswersInAnyOrder) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  const ServantHandle servant = attach(broker, 2);
  EXPECT_EQ(mserve_servant_attached(servant.get()), 1);
  const Output listed = run_to_end({program("mserve-stat"), "servants"}, broker.env());
  EXPECT_NE(listed.out.find("made-in-c"), std::string::npos) << listed.out << listed.err;
  EXPECT_NE(listed.out.find("group=hdb gpu zone=a"), std::string::npos) << listed.out;

  const mserve_send_options info = with(MSERVE_OPAQUE, MSERVE_WANT_INFO);
  const std::uint64_t first = send(client.get(), "first", info);
  const std::uint64_t second = send(client.get(), "second", info);
  const mserve_request one = receive(servant.get());
  const mserve_request two = receive(servant.get());
  EXPECT_EQ(text_of(one.payload, one.payload_bytes), "first");
  EXPECT_EQ(text_of(two.payload, two.payload_bytes), "second");
  EXPECT_EQ(mserve_servant_reply(servant.get(), two.id, two.payload, 3, MSERVE_OPAQUE), MSERVE_OK);
  mserve_reply reply = await(client.get(), second);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), "sec");
  EXPECT_STREQ(reply.servant_name, "made-in-c");
  EXPECT_EQ(mserve_servant_reply_error(servant.get(), one.id, "no luck"), MSERVE_OK);
  reply = await(client.get(), first);
  EXPECT_EQ(reply.status, MSERVE_FAILED);
  char text[16];
  mserve_reply_error(&reply, text, sizeof text);
  EXPECT_STREQ(text, "no luck");
  // Answered already.
  EXPECT_EQ(mserve_servant_reply(servant.get(), one.id, "x", 1, MSERVE_OPAQUE), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply_error(servant.get(), two.id, nullptr), MSERVE_INVALID);
}

TEST(CServant, ServesKdbObjectsAndRefusesWhatIsNone) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  const ServantHandle servant = attach(broker);
  const std::uint64_t id = send(client.get(), "f 1", kText);
  const mserve_request request = receive(servant.get());
  EXPECT_EQ(request.format, std::uint32_t{MSERVE_KDB});
  EXPECT_EQ(text_of(request.payload, request.payload_bytes), std::string("\x0a\0\3\0\0\0f 1", 9));
  EXPECT_EQ(request.options, nullptr);
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, "junk", 4, MSERVE_KDB), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, "x", 1, MSERVE_Q_TEXT), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, nullptr, 1, MSERVE_KDB),
            MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, "\xfc\x05", 2, MSERVE_KDB), MSERVE_OK);
  const mserve_reply reply = await(client.get(), id);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), "\xfc\x05");
}

TEST(CServant, LargeRequestsAndRepliesPassWhole) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  const ServantHandle servant = attach(broker);
  std::string large(3 << 20, 'a');
  large.back() = 'z';
  std::thread serving([&] {
    const mserve_request request = receive(servant.get());
    EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, request.payload,
                                   request.payload_bytes, MSERVE_OPAQUE),
              MSERVE_OK);
  });
  mserve_reply reply = MSERVE_REPLY_INIT;
  ASSERT_EQ(
      mserve_client_call(client.get(), large.data(), large.size(), &kOpaque, kWatchdogNs, &reply),
      MSERVE_OK);
  EXPECT_TRUE(text_of(reply.payload, reply.payload_bytes) == large);
  serving.join();
}

TEST(CServant, AttachesAgainAndAnswersNobodyForTheOldBroker) {
  Broker broker;
  const ServantHandle servant = attach(broker);
  {
    const ClientHandle client = connect(broker);
    (void)send(client.get(), "old", kOpaque);
    const mserve_request old = receive(servant.get());
    broker.kill();
    EXPECT_EQ(mserve_servant_reply(servant.get(), old.id, nullptr, 0, MSERVE_OPAQUE) == MSERVE_OK,
              mserve_servant_attached(servant.get()) == 1)
        << "it may not have noticed yet";
    mserve_request none = MSERVE_REQUEST_INIT;
    EXPECT_EQ(mserve_servant_receive(servant.get(), 50'000'000, &none), MSERVE_NOT_ATTACHED);
    EXPECT_NE(std::string(mserve_last_error()), "not attached") << "and why";
  }
  broker.start();
  mserve_request none = MSERVE_REQUEST_INIT;
  EXPECT_TRUE(wait_until(
      [&] {
        return mserve_servant_receive(servant.get(), 0, &none) == MSERVE_TIMED_OUT &&
               mserve_servant_attached(servant.get()) == 1;
      },
      "the servant attaches again"));
  broker.wait_for_counter("servants", 1);
  const ClientHandle client = connect(broker);
  const std::uint64_t id = send(client.get(), "new", kOpaque);
  const mserve_request request = receive(servant.get());
  EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, "yes", 3, MSERVE_OPAQUE), MSERVE_OK);
  const mserve_reply reply = await(client.get(), id);
  EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), "yes");
}

TEST(CServant, WithoutReconnectALostBrokerIsTheEnd) {
  Broker broker;
  const ServantHandle servant = attach(broker, 1, MSERVE_NO_RECONNECT);
  broker.kill();
  mserve_request none = MSERVE_REQUEST_INIT;
  EXPECT_EQ(mserve_servant_receive(servant.get(), kWatchdogNs, &none), MSERVE_DISCONNECTED);
  mserve_servant* second = nullptr;
  mserve_servant_options options = MSERVE_SERVANT_OPTIONS_INIT;
  options.broker = broker.name().c_str();
  options.directory = broker.directory().c_str();
  EXPECT_EQ(mserve_servant_attach(&options, &second), MSERVE_OK) << "it waits for a broker";
  EXPECT_EQ(mserve_servant_attached(second), 0);
  mserve_servant_detach(&second);
  options.flags = MSERVE_NO_RECONNECT;
  EXPECT_EQ(mserve_servant_attach(&options, &second), MSERVE_NO_BROKER);
}

TEST(CServant, DetachingGivesBackWhatWasNotAnswered) {
  const Broker broker;
  const ClientHandle client = connect(broker);
  mserve_servant* servant = attach(broker).release();
  const std::uint64_t id = send(client.get(), "x", kOpaque);
  (void)receive(servant);
  mserve_servant_detach(&servant);
  EXPECT_EQ(await(client.get(), id).status, MSERVE_SERVANT_DIED);
}

// One handle per thread, as documented; and the one call that may come from another.
TEST(CThreads, EachHasItsHandleAndStopComesFromAnother) {
  const Broker broker;
  const ServantHandle servant = attach(broker, 4);
  std::thread serving([&] {
    mserve_request request = MSERVE_REQUEST_INIT;
    mserve_status status = MSERVE_OK;
    while ((status = mserve_servant_receive(servant.get(), MSERVE_FOREVER, &request)) ==
           MSERVE_OK) {
      EXPECT_EQ(mserve_servant_reply(servant.get(), request.id, request.payload,
                                     request.payload_bytes, MSERVE_OPAQUE),
                MSERVE_OK);
    }
    EXPECT_EQ(status, MSERVE_CANCELLED);
  });
  std::vector<std::thread> asking;
  for (int i = 0; i < 2; ++i) {
    asking.emplace_back([&broker, i] {
      const ClientHandle client = connect(broker);
      for (int n = 0; n < 200; ++n) {
        const std::string text = std::to_string(1000 * i + n);
        mserve_reply reply = MSERVE_REPLY_INIT;
        ASSERT_EQ(mserve_client_call(client.get(), text.data(), text.size(), &kOpaque, kWatchdogNs,
                                     &reply),
                  MSERVE_OK);
        EXPECT_EQ(text_of(reply.payload, reply.payload_bytes), text);
      }
    });
  }
  for (std::thread& thread : asking) {
    thread.join();
  }
  mserve_servant_stop(servant.get());
  serving.join();
}

}  // namespace
}  // namespace mserve::test
