// SPDX-License-Identifier: Apache-2.0
// Many origins in one session, as the gateway has them, against a whole broker in this process (a
// gateway must be the broker's own).
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/counters.hpp"
#include "mserve/shm/message.hpp"
#include "support/wait.hpp"
#include "whole_broker.hpp"

namespace mserve::broker {
namespace {

using mserve::test::wait_until;
using mserve::test::WholeBroker;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

struct Frame {
  shm::FrameHeader head;
  shm::Extensions ext;
  Bytes payload;
};

/// One end of a session, by hand: sends what it is told, keeps what it gets.
class SessionEnd {
 public:
  SessionEnd(const BrokerOptions& broker, shm::Role role) {
    shm::AttachOptions options;
    options.broker = broker.name;
    options.directory = broker.directory;
    options.role = role;
    options.name = "peer";
    std::string reason;
    auto opened = shm::Attachment::open(options, &reason);
    EXPECT_TRUE(opened) << reason;
    attachment_.emplace(std::move(opened).value());
  }
  shm::Attachment& operator*() { return *attachment_; }
  shm::Attachment* operator->() { return &*attachment_; }

  bool send(shm::RingProducer& ring, shm::FrameHeader head, std::span<const std::byte> extensions,
            std::span<const std::byte> payload) {
    return wait_until(
        [&] {
          const bool sent = shm::try_send_whole(ring, head, extensions, payload);
          attachment_->wake_broker();
          return sent;
        },
        "room in a ring");
  }
  std::optional<Frame> poll() {
    shm::FrameView view;
    if (attachment_->incoming().front(view) != Errc::ok) {
      return std::nullopt;
    }
    Frame frame{view.header, {}, {view.payload.begin(), view.payload.end()}};
    EXPECT_TRUE(shm::parse_extensions(view.extensions, frame.ext));
    attachment_->incoming().release();
    return frame;
  }
  Frame take() {
    std::optional<Frame> frame;
    EXPECT_TRUE(wait_until([&] { return (frame = poll()).has_value(); }, "a frame"));
    return frame.value_or(Frame{});
  }

 private:
  std::optional<shm::Attachment> attachment_;
};

struct Asker {
  std::uint32_t index;
  std::uint64_t generation;
};

class GatewayEnd : public SessionEnd {
 public:
  explicit GatewayEnd(const BrokerOptions& broker) : SessionEnd(broker, shm::Role::gateway) {}

  void request(Asker asker, std::uint64_t id, std::span<const std::byte> payload) {
    EXPECT_TRUE(say((*this)->outgoing(), shm::Kind::request, asker, id, payload, nullptr));
  }
  void fragment(Asker asker, std::uint64_t id, shm::FlowExt flow,
                std::span<const std::byte> payload) {
    EXPECT_TRUE(say((*this)->outgoing(), shm::Kind::request, asker, id, payload, &flow));
  }
  /// Returns when everything sent before was looked at: asks for something that is refused at once.
  /// Twice, because the control ring is looked at before the other.
  void sync() {
    for (const std::uint64_t id : {901U, 902U}) {
      fragment({2, 1}, id, {0, std::uint64_t{1} << 40}, bytes_of("x"));
      EXPECT_EQ(take().head.id, id);
    }
  }
  void gone(Asker asker) {
    EXPECT_TRUE(say((*this)->control(), shm::Kind::gone, asker, 0, {}, nullptr));
  }
  /// Gives up on a request that is on its way.
  void abort(Asker asker, std::uint64_t id) {
    EXPECT_TRUE(say((*this)->outgoing(), shm::Kind::abort, asker, id, {}, nullptr));
  }
  void window(Asker asker, std::uint64_t bytes) {
    EXPECT_TRUE(say((*this)->control(), shm::Kind::window, asker, 0, {}, nullptr, bytes));
  }

 private:
  bool say(shm::RingProducer& ring, shm::Kind kind, Asker asker, std::uint64_t id,
           std::span<const std::byte> payload, const shm::FlowExt* flow, std::uint64_t aux = 0) {
    std::byte extensions[64];
    std::byte* end =
        shm::put_extension(extensions, shm::ExtType::origin, asker.index, asker.generation);
    if (flow != nullptr) {
      end = shm::put_extension(end, shm::ExtType::flow, 0, *flow);
    }
    shm::FrameHeader head;
    head.kind = kind;
    head.flags = kind == shm::Kind::request ? shm::kFlagOpaque : std::uint8_t{0};
    head.id = id;
    head.aux = aux;
    return send(ring, head, {extensions, static_cast<std::size_t>(end - extensions)}, payload);
  }
};

class ServantEnd : public SessionEnd {
 public:
  explicit ServantEnd(const BrokerOptions& broker) : SessionEnd(broker, shm::Role::servant) {}
  void reply(std::uint64_t id, std::span<const std::byte> payload,
             const shm::FlowExt* flow = nullptr) {
    std::byte extensions[32];
    const std::byte* end =
        flow != nullptr ? shm::put_extension(extensions, shm::ExtType::flow, 0, *flow) : extensions;
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.flags = shm::kFlagOpaque;
    head.id = id;
    EXPECT_TRUE(send((*this)->outgoing(), head,
                     {extensions, static_cast<std::size_t>(end - extensions)}, payload));
  }
};

class Origins : public ::testing::Test {
 protected:
  void start() { broker_.start(); }
  [[nodiscard]] static Errc status_of(const Frame& reply) {
    return static_cast<Errc>(shm::unpack_reply(reply.head.aux).status);
  }
  [[nodiscard]] static std::uint64_t count_of(SessionEnd& peer, const std::string& name) {
    const auto opened = shm::CountersReader::open(peer->info().counters_name, geteuid());
    EXPECT_TRUE(opened);
    for (const auto& value : opened.value().snapshot()) {
      if (value.name == name) {
        return value.value;
      }
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }
  /// Answers what runs and one more, behind which everything is decided, and expects that besides
  /// these only one request was taken, which ended with an error.
  static void expect_two_answers_and_one_error(GatewayEnd& gateway, ServantEnd& servant,
                                               const Frame& running) {
    servant.reply(running.head.id, bytes_of("answer"));
    EXPECT_EQ(gateway.take().head.id, 1U);
    gateway.request({0, 1}, 3, bytes_of("next"));
    servant.reply(servant.take().head.id, bytes_of("answer"));
    EXPECT_EQ(gateway.take().head.id, 3U);
    EXPECT_EQ(count_of(gateway, "requests"), 3U);
    EXPECT_EQ(count_of(gateway, "replies"), 2U);
    EXPECT_EQ(count_of(gateway, "errors"), 1U);
    EXPECT_EQ(count_of(gateway, "discarded"), 0U);
  }

  WholeBroker broker_;
  BrokerOptions& options_ = broker_.options();
};

TEST_F(Origins, AnswersComeBackByIdWhoeverAsked) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  gateway.request({0, 1}, 11, bytes_of("a"));
  gateway.request({3, 1}, 12, bytes_of("b"));
  for (const std::uint64_t id : {11U, 12U}) {
    const Frame asked = servant.take();
    EXPECT_FALSE(asked.ext.has_origin);
    servant.reply(asked.head.id, asked.payload);
    const Frame reply = gateway.take();
    EXPECT_EQ(reply.head.kind, shm::Kind::reply);
    EXPECT_EQ(reply.head.id, id);
    EXPECT_EQ(reply.payload, asked.payload);
  }
}

TEST_F(Origins, WhatAnOriginThatLeftAskedVanishesAndItsPlaceServesTheNext) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  gateway.request({1, 1}, 1, bytes_of("runs"));
  const Frame running = servant.take();
  gateway.request({1, 1}, 2, bytes_of("waits"));
  gateway.gone({1, 1});
  gateway.request({1, 2}, 3, bytes_of("next"));
  gateway.request({1, 1}, 4, bytes_of("too late"));  // of the life that is over
  gateway.sync();
  servant.reply(running.head.id, bytes_of("for nobody"));
  const Frame next = servant.take();
  EXPECT_EQ(next.payload, bytes_of("next"));
  servant.reply(next.head.id, bytes_of("answer"));
  EXPECT_EQ(gateway.take().head.id, 3U);
  gateway.request({1, 2}, 5, bytes_of("again"));
  const Frame again = servant.take();
  EXPECT_EQ(again.payload, bytes_of("again"));  // neither "waits" nor "too late" came before it
  servant.reply(again.head.id, {});
  EXPECT_EQ(gateway.take().head.id, 5U);
}

TEST_F(Origins, ANewGenerationEndsTheOneBefore) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  gateway.request({0, 1}, 1, bytes_of("runs"));
  const Frame running = servant.take();
  gateway.request({0, 1}, 2, bytes_of("waits"));
  gateway.request({0, 7}, 3, bytes_of("next"));
  gateway.sync();
  servant.reply(running.head.id, {});
  EXPECT_EQ(servant.take().payload, bytes_of("next"));
}

TEST_F(Origins, ALargeRequestComesAsItIsAskedForAndOthersPass) {
  start();
  ServantEnd servant(options_);
  ServantEnd other(options_);
  GatewayEnd gateway(options_);
  const Bytes large(1'000'000, std::byte{7});
  std::size_t sent = 8000;
  gateway.fragment({0, 1}, 1, {0, large.size()}, std::span(large).first(sent));
  std::uint64_t granted = sent;
  std::size_t received = 0;
  std::uint64_t large_id = 0;
  ServantEnd* runs_large = nullptr;
  std::uint64_t small = 100;
  std::size_t small_answers = 0;
  ASSERT_TRUE(wait_until(
      [&] {
        while (const auto frame = gateway.poll()) {
          if (frame->head.kind == shm::Kind::window) {
            EXPECT_EQ(frame->head.id, 1U);
            granted += frame->head.aux;
          } else {
            ++small_answers;
          }
        }
        // Never beyond the grant; now and then somebody else asks in between.
        while (sent < granted) {
          const std::size_t now = std::min<std::size_t>(granted - sent, 8000);
          gateway.fragment({0, 1}, 1, {sent, large.size()}, std::span(large).subspan(sent, now));
          sent += now;
          gateway.request({1, 1}, ++small, bytes_of("small"));
        }
        for (ServantEnd* s : {&servant, &other}) {
          while (const auto frame = s->poll()) {
            if (frame->ext.has_flow) {
              EXPECT_EQ(frame->ext.flow.offset, received);
              received += frame->payload.size();
              large_id = frame->head.id;
              runs_large = s;
            } else {
              s->reply(frame->head.id, frame->payload);
            }
          }
        }
        return received == large.size() && small_answers == small - 100;
      },
      "a large request to arrive while small ones are answered"));
  runs_large->reply(large_id, bytes_of("done"));
  EXPECT_EQ(gateway.take().head.id, 1U);
}

TEST_F(Origins, ALargeRequestThatEndsEarlyLeavesNothingBehind) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  const Bytes large(100'000, std::byte{7});
  for (std::uint64_t id = 1; id <= 50; ++id) {
    gateway.fragment({0, 1}, id, {0, large.size()}, std::span(large).first(8000));
    Frame first;
    ASSERT_TRUE(wait_until(
        [&] {
          const auto frame = servant.poll();
          if (frame && frame->head.kind == shm::Kind::request) {
            first = *frame;
          }
          return first.head.id != 0;
        },
        "the first fragment"));
    servant.reply(first.head.id, bytes_of("enough"));
    // What was granted may still be on its way when the answer comes.
    ASSERT_TRUE(wait_until(
        [&] {
          const auto frame = gateway.poll();
          if (frame && frame->head.kind == shm::Kind::window) {
            gateway.fragment({0, 1}, id, {8000, large.size()}, std::span(large).subspan(8000, 100));
          }
          return frame && frame->head.kind == shm::Kind::reply && frame->head.id == id;
        },
        "the early answer"));
  }
  EXPECT_EQ(gateway->check(), Errc::ok);
}

// It used to be counted as an error and, once it had left the queue, as discarded as well.
TEST_F(Origins, ALargeRequestThatIsGivenUpWhileItWaitsEndsInOneCounter) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  gateway.request({0, 1}, 1, bytes_of("runs"));
  const Frame running = servant.take();
  gateway.fragment({1, 1}, 2, {0, 100'000}, Bytes(8000, std::byte{7}));
  gateway.abort({1, 1}, 2);
  const Frame given_up = gateway.take();
  EXPECT_EQ(given_up.head.id, 2U);
  EXPECT_EQ(status_of(given_up), Errc::cancelled);
  expect_two_answers_and_one_error(gateway, servant, running);
}

// The same, of one that the queue takes but for which the memory is split too finely.
TEST_F(Origins, ARequestThatFindsTheStoreFullEndsInOneCounter) {
  options_.servant_ring = 1U << 20;
  options_.gather_max = 256U << 10;
  options_.stall_timeout = 600'000'000'000;
  start();
  ServantEnd servant(options_);
  constexpr std::uint64_t kGathered = 20;  // a quarter of a MiB each, of the 5 MiB
  constexpr std::uint64_t kEach = 10;
  std::vector<SessionEnd> gathered;
  for (std::uint64_t n = 0; n < kGathered; ++n) {
    if (n % kEach == 0) {
      gathered.emplace_back(options_, shm::Role::client);
    }
    std::byte extension[24];
    (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{0, 200'000});
    shm::FrameHeader head;
    head.kind = shm::Kind::request;
    head.flags = shm::kFlagOpaque;
    head.id = n + 1;
    SessionEnd& client = gathered.back();
    ASSERT_TRUE(client.send(client->outgoing(), head, extension, bytes_of("begun")));
  }
  ASSERT_TRUE(wait_until([&] { return count_of(gathered[0], "fragments_in") == kGathered; },
                         "the flows to begin"));
  GatewayEnd gateway(options_);
  gateway.request({0, 1}, 1, bytes_of("runs"));
  const Frame running = servant.take();
  gateway.request({0, 1}, 2, bytes_of("has no room"));
  const Frame refused = gateway.take();
  EXPECT_EQ(refused.head.id, 2U);
  EXPECT_EQ(status_of(refused), Errc::busy);
  expect_two_answers_and_one_error(gateway, servant, running);
}

TEST_F(Origins, OneThatReadsNothingOfALargeAnswerIsClosedAlone) {
  options_.stall_timeout = 50'000'000;
  start();
  ServantEnd servant(options_);
  ServantEnd other(options_);
  GatewayEnd gateway(options_);
  gateway.request({0, 1}, 1, bytes_of("large"));
  ServantEnd* slow = nullptr;
  Frame asked;
  ASSERT_TRUE(wait_until(
      [&] {
        for (ServantEnd* s : {&servant, &other}) {
          if (const auto frame = s->poll()) {
            asked = *frame;
            slow = s;
          }
        }
        return slow != nullptr;
      },
      "a servant to be asked"));
  const Bytes piece(8000, std::byte{1});
  std::uint64_t offset = 0;
  std::uint64_t flow_bytes = 0;
  std::optional<Frame> gone;
  // Nobody grants a window to origin 0, so at its end the servant's answer stands still.
  ASSERT_TRUE(wait_until(
      [&] {
        std::byte extension[24];
        (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{offset, 1'000'000});
        shm::FrameHeader head;
        head.kind = shm::Kind::reply;
        head.flags = shm::kFlagOpaque;
        head.id = asked.head.id;
        if (offset < 1'000'000 &&
            shm::try_send_whole((*slow)->outgoing(), head, extension, piece)) {
          offset += piece.size();
          (*slow)->wake_broker();
        }
        while (const auto frame = gateway.poll()) {
          if (frame->head.kind == shm::Kind::gone) {
            gone = frame;
          } else {
            flow_bytes += frame->payload.size();
          }
        }
        return gone.has_value();
      },
      "the slow origin to be closed"));
  EXPECT_EQ(flow_bytes, gateway->info().window_bytes);
  EXPECT_EQ(gone->ext.origin_index, 0U);
  EXPECT_EQ(gone->ext.origin_generation, 1U);
  EXPECT_EQ(static_cast<Errc>(gone->head.aux), Errc::slow_reader);
  gateway.request({1, 1}, 2, bytes_of("small"));
  ServantEnd& quick = slow == &servant ? other : servant;
  const Frame small = quick.take();
  quick.reply(small.head.id, small.payload);
  EXPECT_EQ(gateway.take().head.id, 2U);
  EXPECT_EQ(gateway->check(), Errc::ok);
}

TEST_F(Origins, MoreThanThereIsRoomForAreToldSo) {
  start();
  ServantEnd servant(options_);
  GatewayEnd gateway(options_);
  // Indices have a bound of their own; a frame beyond it is a breach.
  gateway.request({4, 1}, 1, bytes_of("x"));
  EXPECT_TRUE(wait_until([&] { return gateway->check() != Errc::ok; }, "the session to be closed"));
  EXPECT_EQ(gateway->closing_code(), Errc::bad_frame);
}

/// A client that does not read.
class SlowReader : public SessionEnd {
 public:
  explicit SlowReader(const BrokerOptions& broker) : SessionEnd(broker, shm::Role::client) {}
  void ask() {
    shm::FrameHeader head;
    head.kind = shm::Kind::request;
    head.flags = shm::kFlagOpaque;
    head.id = ++asked_;
    EXPECT_TRUE(send((*this)->outgoing(), head, {}, bytes_of("x")));
  }

 private:
  std::uint64_t asked_ = 0;
};

// While statuses are told to one client, room for them is made by closing another, and then it is
// closed itself: each step follows from the one before and must not run within it.
TEST_F(Origins, ManyThatFailAtOnceCloseWhoDoesNotReadAndNobodyElse) {
  constexpr std::uint64_t kKeptMax = 64;  // of one client, a KiB each; of all 256
  options_.max_pending_bytes = kKeptMax << 10;
  options_.client_ring = 4U << 10;
  start();
  std::optional<ServantEnd> servant(std::in_place, options_);
  SlowReader first(options_);
  SlowReader second(options_);
  SlowReader third(options_);
  SlowReader small(options_);
  SlowReader asker(options_);
  std::uint64_t replies = 0;
  std::uint64_t kept = 0;
  const auto fill = [&](SlowReader& client, std::uint64_t answers) {
    for (kept += answers; count_of(asker, "kept_replies") < kept;) {
      client.ask();
      servant->reply(servant->take().head.id, bytes_of("x"));
      ++replies;
      ASSERT_TRUE(wait_until([&] { return count_of(asker, "replies") == replies; }, "an answer"));
    }
  };
  fill(first, 62);
  fill(second, 62);
  fill(third, 62);
  fill(small, 10);
  constexpr std::uint64_t kAsked = 400;
  for (std::uint64_t i = 0; i < kAsked; ++i) {
    asker.ask();
  }
  EXPECT_TRUE(wait_until([&] { return count_of(asker, "queued") == kAsked - 1; }, "the queue"));
  servant.reset();
  const auto ended = [&] {
    return count_of(asker, "replies") + count_of(asker, "errors") + count_of(asker, "discarded");
  };
  EXPECT_TRUE(wait_until([&] { return ended() == replies + kAsked; }, "all to be ended once"));
  EXPECT_TRUE(wait_until([&] { return count_of(asker, "sessions") == 3; }, "two to be closed"));
  EXPECT_EQ(count_of(asker, "closed_total"), 2U) << "the largest, and who asked";
  EXPECT_EQ(count_of(asker, "requests"), replies + kAsked);
  EXPECT_EQ(ended(), replies + kAsked);
}

}  // namespace
}  // namespace mserve::broker
