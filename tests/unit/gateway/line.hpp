// SPDX-License-Identifier: Apache-2.0
// One connection under test: its client at the other end of a socket pair, the data plane played by
// the test, and the gateway's part of telling it what happened.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fake_data_plane.hpp"
#include "gateway/connection.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "support/sizes.hpp"

namespace mserve::test {

using kdb::MessageKind;
using kdb::Value;

/// How a line is made.
struct LineSetup {
  broker::ConnectionSettings settings{};
  FakePlaneSetup plane{};
  broker::Peer peer{};
  std::uint8_t capability = 3;
  bool handshake = true;                       ///< Done by the constructor.
  std::shared_ptr<const broker::Role> role{};  ///< Of the client, where passwords are checked.
  std::shared_ptr<const broker::AccessRules> access{};  ///< Not null: passwords are checked.
  int send_buffer = 0;  ///< Of the connection's socket; 0: the system's.
};

/// A message as the client got it, decoded.
struct Got {
  MessageKind kind = MessageKind::async;
  Value value;
};

class Line : public broker::GatewayDesk {
 public:
  explicit Line(const LineSetup& setup = {}) : plane(setup.plane), link(plane.session()) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    ours_ = shm::UniqueFd(ends[0]);
    client_ = shm::UniqueFd(ends[1]);
    if (setup.send_buffer != 0) {
      (void)::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &setup.send_buffer,
                         sizeof(setup.send_buffer));
    }
    broker::GatewayCounters counters{};
    std::array<shm::Counter**, 13> fields{
        &counters.connections, &counters.accepted, &counters.refused, &counters.closed,
        &counters.messages,    &counters.requests, &counters.answers, &counters.ambiguous,
        &counters.ignored,     &counters.pending,  &counters.denied,  &counters.forbidden,
        &counters.misrouted};
    for (std::size_t i = 0; i < fields.size(); ++i) {
      *fields[i] = &counters_[i];
    }
    context.emplace(setup.settings, counters, *this);
    context->access = setup.access;
    context->link = &link;
    context->now_ns = shm::steady_now();
    connection = std::make_unique<broker::Connection>(*context, ours_.get(), setup.peer,
                                                      broker::OriginId{5, 77});
    if (setup.handshake) {
      Bytes opening = bytes("bob:secret");
      if (setup.capability != 0) {
        opening.push_back(std::byte{setup.capability});
      }
      opening.push_back(std::byte{0});
      write(opening);
      if (setup.access != nullptr) {
        answer_login(setup.role);
      }
      EXPECT_EQ(read_raw().size(), 1U);
    }
  }

  static Bytes bytes(std::string_view text) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
  }

  // The client.
  void write(std::span<const std::byte> data) {
    while (!data.empty() && alive()) {
      const ssize_t sent = ::send(client_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        data = data.subspan(static_cast<std::size_t>(sent));
      }
      const bool moved = turn();
      if (sent <= 0 && !moved) {
        break;  // it does not read: the rest stays unsent
      }
    }
    unsent_ = data.size();
    (void)turn();
  }
  void send(const Value& value, MessageKind kind, kdb::ByteOrder order = kdb::ByteOrder::little) {
    write(kdb::encode_message(value, kind, order));
  }
  void sync(std::string_view text) { send(Value::chars(std::string(text)), MessageKind::sync); }
  void async(const Value& value) { send(value, MessageKind::async); }
  void half_close() {
    (void)::shutdown(client_.get(), SHUT_WR);
    (void)turn();
  }
  void hang_up() {
    client_.reset();
    if (alive()) {
      connection->on_hang_up();
    }
    (void)turn();
  }
  /// Everything that the client can read now.
  Bytes read_raw() {
    Bytes all;
    Bytes part(1 << 16);
    for (;;) {
      const ssize_t got = ::recv(client_.get(), part.data(), part.size(), MSG_DONTWAIT);
      if (got > 0) {
        all.insert(all.end(), part.begin(), part.begin() + got);
      } else if (!turn()) {
        saw_end = got == 0;
        break;
      }
    }
    return all;
  }
  /// The same as messages, decompressed and decoded; what is left over is an error.
  std::vector<Got> read() {
    const Bytes raw = read_raw();
    std::vector<Got> messages;
    std::span<const std::byte> rest = raw;
    while (!rest.empty()) {
      const auto header = kdb::parse_header(rest);
      if (!header || header->message_bytes > rest.size()) {
        ADD_FAILURE() << rest.size() << " bytes that are no message";
        break;
      }
      const auto message = kdb::decode_message(rest.first(header->message_bytes));
      if (!message) {
        ADD_FAILURE() << kdb::to_text(message.error());
        break;
      }
      messages.push_back({header->kind, message->value});
      rest = rest.subspan(header->message_bytes);
    }
    return messages;
  }
  /// Exactly one message.
  Got read_one() {
    std::vector<Got> all = read();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? Got{} : all.front();
  }
  [[nodiscard]] int client_fd() const { return client_.get(); }
  [[nodiscard]] std::size_t unsent() const { return unsent_; }
  [[nodiscard]] bool alive() const { return connection != nullptr; }

  /// One pass of the gateway. @return whether anything happened.
  bool turn() {
    bool worked = false;
    broker::LinkEvent event;
    for (int i = 0; i < 64 && link.next(event) == Errc::ok; ++i) {
      worked = true;
      deliver(event);
      link.release();
    }
    if (alive() && connection->wants_write()) {
      const std::size_t before = connection->row().waiting_bytes;
      connection->on_writable();
      worked |= connection->row().waiting_bytes != before;
    }
    if (alive() && connection->waits_for_turn()) {
      connection->resume();
      worked |= !connection->waits_for_turn();
    }
    char look = 0;
    if (alive() && connection->wants_read() &&
        ::recv(ours_.get(), &look, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
      connection->on_readable();
      worked = true;
    }
    settle();
    (void)link.flush();
    return worked;
  }
  void settle() {
    if (alive() && connection->closed()) {
      connection.reset();
      ours_.reset();
    }
  }

  /// Asks and answers one sync query, to show that the connection is well.
  void expect_works() {
    sync("echo 1");
    const auto request = plane.take();
    EXPECT_NE(request.head.id, 0U);
    EXPECT_TRUE(plane.answer(request.head.id, kdb::encode(Value::long_atom(1))));
    (void)turn();
    const Got got = read_one();
    EXPECT_EQ(got.kind, MessageKind::response);
    EXPECT_EQ(got.value, Value::long_atom(1));
  }

  // GatewayDesk.
  Value admin_answer(const broker::AdminCall& call) override {
    admin_calls.push_back(call.name);
    return Value::symbol("admin");
  }
  std::vector<broker::SessionRow> sessions() const override { return attached; }
  std::string http_answer(std::string_view method, std::string_view /*target*/) override {
    return "HTTP/1.1 200 OK\r\n\r\n" + std::string(method);
  }
  bool check_login(broker::OriginId origin, const std::string& user,
                   broker::Secret password) override {
    EXPECT_EQ(origin.generation, connection->origin().generation);
    logins.push_back(user + ":" + std::string(password.text()));
    return !logins_full;
  }
  /// The answer to the one login under way. Null: refused.
  void answer_login(std::shared_ptr<const broker::Role> role) {
    connection->on_login(std::move(role));
    (void)turn();
  }

  FakeDataPlane plane;
  broker::GatewayLink link;
  std::optional<broker::ConnectionContext> context;
  std::unique_ptr<broker::Connection> connection;
  std::vector<broker::AdminCall::Name> admin_calls;
  std::vector<broker::SessionRow> attached;
  std::vector<std::string> logins;  ///< USER:PASSWORD that were to be checked.
  bool logins_full = false;         ///< The next one is not taken.
  bool saw_end = false;

 private:
  void deliver(const broker::LinkEvent& event) {
    if (event.kind == broker::LinkEvent::Kind::gone) {
      if (alive() && event.origin.generation == connection->origin().generation) {
        connection->close(to_string(event.status));
      }
    } else if (broker::Pending* const pending = context->pendings.find(event.id)) {
      if (event.kind == broker::LinkEvent::Kind::window) {
        pending->owner->on_grant(*pending, event.granted);
      } else {
        pending->owner->on_answer(*pending, event);
      }
    }
    settle();
  }

  shm::UniqueFd ours_;
  shm::UniqueFd client_;
  std::size_t unsent_ = 0;
  std::array<shm::Counter, 13> counters_;
};

/// (a; b; ...) as a general list.
inline Value list(std::vector<Value> items) {
  return Value::list(std::move(items));
}
inline Value text(std::string_view value) {
  return Value::chars(std::string(value));
}

}  // namespace mserve::test
