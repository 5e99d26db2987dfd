// SPDX-License-Identifier: Apache-2.0
// The small parts that connections stand on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "fake_data_plane.hpp"
#include "gateway/admin_answer.hpp"
#include "gateway/http_page.hpp"
#include "gateway/listeners.hpp"
#include "gateway/output.hpp"
#include "gateway/peer.hpp"
#include "gateway/pending.hpp"
#include "gateway/readiness.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

using broker::BufferPool;
using broker::Listeners;
using broker::Output;
using broker::Pending;
using broker::PendingList;
using broker::PendingTable;
using broker::Readiness;

struct Ends {
  Ends() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()), 0);
    a = shm::UniqueFd(fds[0]);
    b = shm::UniqueFd(fds[1]);
  }
  Bytes read() const {
    Bytes all;
    Bytes part(1 << 16);
    for (ssize_t got = 0; (got = ::recv(b.get(), part.data(), part.size(), 0)) > 0;) {
      all.insert(all.end(), part.begin(), part.begin() + got);
    }
    return all;
  }
  shm::UniqueFd a;
  shm::UniqueFd b;
};

TEST(GatewayOutput, SendsPiecesInOrderAndKeepsOnlyWhatTheSocketDoesNotTake) {
  const Ends ends;
  BufferPool pool;
  Output output(ends.a.get(), pool);
  Bytes wanted;
  for (std::uint64_t i = 0; i < 40; ++i) {
    const Bytes first = pattern(10 + i, i);
    const Bytes second = pattern(20'000 * (i % 3), i + 100);
    const Bytes third = pattern(i, i + 200);
    output.send(first, second, third);
    for (const Bytes& part : {first, second, third}) {
      wanted.insert(wanted.end(), part.begin(), part.end());
    }
  }
  EXPECT_GT(output.waiting(), 0U);
  Bytes got;
  while (got.size() < wanted.size() && !HasFailure()) {
    const Bytes part = ends.read();
    ASSERT_FALSE(part.empty());
    got.insert(got.end(), part.begin(), part.end());
    output.flush();
  }
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(output.waiting(), 0U);
  EXPECT_EQ(output.sent_bytes(), wanted.size());
}

TEST(GatewayOutput, NoticesThatThePeerIsGone) {
  Ends ends;
  BufferPool pool;
  Output output(ends.a.get(), pool);
  ends.b.reset();
  output.send(pattern(10));
  EXPECT_TRUE(output.broken());
  EXPECT_EQ(output.waiting(), 0U);
  output.send(pattern(10));  // harmless
}

TEST(GatewayBuffers, AreUsedAgainUnlessTheyAreLarge) {
  BufferPool pool;
  Bytes buffer = pattern(1000);
  const std::byte* const memory = buffer.data();
  pool.give_back(buffer);
  EXPECT_EQ(buffer.capacity(), 0U);
  Bytes again = pool.take();
  EXPECT_TRUE(again.empty());
  again.resize(1000);
  EXPECT_EQ(again.data(), memory);
  Bytes large(std::size_t{1} << 20);
  pool.give_back(large);
  EXPECT_EQ(pool.take().capacity(), 0U);
}

TEST(GatewayPending, IdsNameOneMessageOnly) {
  PendingTable table;
  auto* const owner = reinterpret_cast<broker::Connection*>(0x1000);  // never looked at
  std::vector<Pending*> nodes;
  for (int i = 0; i < 200; ++i) {
    Pending& node = table.take();
    node.owner = owner;
    EXPECT_GT(node.id, 0U);
    EXPECT_EQ(table.find(node.id), &node);
    nodes.push_back(&node);
  }
  EXPECT_EQ(table.used(), 200U);
  const std::uint64_t id = nodes[5]->id;
  table.give_back(*nodes[5]);
  EXPECT_EQ(table.find(id), nullptr);
  Pending& next = table.take();
  next.owner = owner;
  EXPECT_EQ(&next, nodes[5]) << "the place is used again";
  EXPECT_NE(next.id, id);
  EXPECT_EQ(table.find(id), nullptr);
  EXPECT_EQ(table.find(~std::uint64_t{0}), nullptr);
  EXPECT_EQ(table.find(0), nullptr);
}

TEST(GatewayPending, ListsKeepTheirOrder) {
  PendingTable table;
  std::array<Pending*, 4> n{&table.take(), &table.take(), &table.take(), &table.take()};
  PendingList list;
  for (int i = 0; i < 3; ++i) {
    list.add(*n[static_cast<std::size_t>(i)]);
  }
  list.replace(*n[1], *n[3]);
  EXPECT_EQ(n[1]->list, nullptr);
  EXPECT_EQ(list.first(), n[0]);
  EXPECT_EQ(n[0]->next, n[3]);
  EXPECT_EQ(n[3]->next, n[2]);
  list.remove(*n[0]);
  list.remove(*n[2]);
  list.add(*n[1]);
  EXPECT_EQ(list.first(), n[3]);
  EXPECT_EQ(n[3]->next, n[1]);
}

TEST(GatewayPeer, UnixPeersAreKnownByTheirUser) {
  const Ends ends;
  const broker::Peer peer = broker::Peer::of(ends.a.get());
  EXPECT_EQ(peer.kind, broker::Peer::Kind::unix_socket);
  EXPECT_EQ(peer.uid, ::getuid());
  EXPECT_FALSE(peer.remote);
  EXPECT_EQ(peer.text(), "unix:" + std::to_string(::getpid()));
}

TEST(GatewayPeer, AddressesAreShownAsUsersWriteThem) {
  broker::Peer peer;
  peer.kind = broker::Peer::Kind::tcp4;
  peer.port = 5012;
  peer.address = {10, 1, 2, 3};
  EXPECT_EQ(peer.text(), "10.1.2.3:5012");
  peer.kind = broker::Peer::Kind::tcp6;
  peer.address = {};
  peer.address[15] = 1;
  EXPECT_EQ(peer.text(), "[::1]:5012");
}

/// QUDSPATH for one test.
class Qudspath {
 public:
  explicit Qudspath(const char* value) {
    if (const char* const was = std::getenv("QUDSPATH")) {
      was_ = was;
      had_ = true;
    }
    if (value != nullptr) {
      ::setenv("QUDSPATH", value, 1);
    } else {
      ::unsetenv("QUDSPATH");
    }
  }
  ~Qudspath() {
    if (had_) {
      ::setenv("QUDSPATH", was_.c_str(), 1);
    } else {
      ::unsetenv("QUDSPATH");
    }
  }
  Qudspath(const Qudspath&) = delete;
  Qudspath& operator=(const Qudspath&) = delete;

 private:
  std::string was_;
  bool had_ = false;
};

TEST(GatewayListeners, UnixSocketsLieWhereClientsLook) {
  {
    const Qudspath unset(nullptr);
    EXPECT_EQ(broker::unix_socket_path(5000), "/tmp/kx.5000");
  }
  {
    const Qudspath empty("");
    EXPECT_FALSE(broker::unix_socket_path(5000));
  }
  const Qudspath elsewhere("/run/q");
  EXPECT_EQ(broker::unix_socket_path(5000), "/run/q/kx.5000");
}

TEST(GatewayListeners, ReplaceAStaleSocketAndRemoveOnlyTheirOwn) {
  const TempDir dir;
  const Qudspath here(dir.path().c_str());
  broker::GatewayOptions options;
  std::string reason;
  std::vector<broker::MissingSocket> missed;
  std::string path;
  {
    auto first = Listeners::open(options, reason, missed);
    ASSERT_TRUE(first) << reason;
    EXPECT_TRUE(missed.empty()) << missed[0].path;
    EXPECT_EQ(first.value().sockets().size(), 3U);
    EXPECT_NE(first.value().port(), 0);
    path = first.value().path();
    EXPECT_EQ(::access(path.c_str(), F_OK), 0);
    // What took our place is not ours to remove.
    ASSERT_EQ(::rename(path.c_str(), (path + ".away").c_str()), 0);
    ASSERT_EQ(::link((path + ".away").c_str(), path.c_str()), 0);
    ASSERT_EQ(::unlink(path.c_str()), 0);
    const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    ::close(file);
    options.port = first.value().port();
  }
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  auto with_file = Listeners::open(options, reason, missed);
  ASSERT_TRUE(with_file) << reason;
  ASSERT_EQ(missed.size(), 1U) << "a file is left alone";
  EXPECT_STREQ(missed[0].kind, "path");
  EXPECT_EQ(missed[0].path, path);
  with_file.value().close();
  missed.clear();
  ASSERT_EQ(::rename((path + ".away").c_str(), path.c_str()), 0);  // a socket that nobody has
  auto again = Listeners::open(options, reason, missed);
  ASSERT_TRUE(again) << reason;
  EXPECT_TRUE(missed.empty());
  again.value().close();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(GatewayListeners, TellWhichAddressIsTaken) {
  const Qudspath none("");
  broker::GatewayOptions options;
  std::string reason;
  std::vector<broker::MissingSocket> missed;
  auto first = Listeners::open(options, reason, missed);
  ASSERT_TRUE(first) << reason;
  EXPECT_EQ(first.value().sockets().size(), 1U);
  options.port = first.value().port();
  const auto second = Listeners::open(options, reason, missed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::in_use);
  EXPECT_NE(reason.find("127.0.0.1 port " + std::to_string(options.port)), std::string::npos);
}

TEST(GatewayReadiness, TellsOncePerRequestAndNeverAfterTheEnd) {
  std::vector<std::pair<std::uint64_t, Readiness::What>> told;
  Readiness ready(
      [&told](std::uint64_t key, Readiness::What what) { told.emplace_back(key, what); });
  Ends ends;
  Readiness::Handle handle = ready.add(ends.a.release(), 42);
  ASSERT_NE(handle, nullptr);
  ready.watch(*handle, Readiness::What::readable);
  ready.watch(*handle, Readiness::What::readable);  // pending already
  EXPECT_FALSE(ready.poll());
  ASSERT_EQ(::send(ends.b.get(), "x", 1, 0), 1);
  ready.wait(10'000'000'000);
  EXPECT_FALSE(ready.poll());
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].first, 42U);
  ready.watch(*handle, Readiness::What::readable);  // nothing was read: told again
  ready.wait(10'000'000'000);
  EXPECT_EQ(told.size(), 2U);
  ready.watch(*handle, Readiness::What::readable);
  ready.watch(*handle, Readiness::What::writable);
  handle.reset();
  while (ready.poll()) {
  }
  EXPECT_EQ(told.size(), 2U);
  EXPECT_LE(::recv(ends.b.get(), nullptr, 0, 0), 0) << "and it is closed";
}

TEST(GatewayReadiness, TellsOfAPeerThatIsGone) {
  std::vector<Readiness::What> told;
  Readiness ready([&told](std::uint64_t, Readiness::What what) { told.push_back(what); });
  Ends ends;
  const Readiness::Handle handle = ready.add(ends.a.release(), 1);
  ASSERT_NE(handle, nullptr);
  ready.watch(*handle, Readiness::What::hung_up);
  EXPECT_FALSE(ready.poll());
  ends.b.reset();
  ready.wait(10'000'000'000);
  EXPECT_EQ(told, std::vector<Readiness::What>{Readiness::What::hung_up});
}

TEST(GatewayHttp, PageNamesTheBrokerAndOtherMethodsAreRefused) {
  broker::HttpFacts facts;
  facts.name = "prod";
  facts.port = 5000;
  facts.servants = 3;
  const std::string page = broker::http_page("GET", "/", facts);
  EXPECT_EQ(page.rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
  EXPECT_NE(page.find("mserve-broker prod"), std::string::npos);
  EXPECT_NE(page.find("hopen 5000"), std::string::npos);
  EXPECT_NE(page.find("mserve-stat serve --name prod"), std::string::npos) << "where more is shown";
  const std::size_t body = page.find("\r\n\r\n") + 4;
  EXPECT_NE(page.find("Content-Length: " + std::to_string(page.size() - body) + "\r\n"),
            std::string::npos);
  EXPECT_EQ(broker::http_page("HEAD", "/", facts), page.substr(0, body));
  EXPECT_EQ(broker::http_page("POST", "/healthz", facts).rfind("HTTP/1.1 405 ", 0), 0U);
}

TEST(GatewayHttp, HealthIsAWordAndAStatusThatTurnsWhenItWillShutDown) {
  broker::HttpFacts facts;
  for (const char* const target : {"/healthz", "/healthz?from=haproxy"}) {
    facts.draining = false;
    const std::string well = broker::http_page("GET", target, facts);
    EXPECT_EQ(well.rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
    EXPECT_EQ(well.substr(well.find("\r\n\r\n") + 4), "ok\n");
    facts.draining = true;
    const std::string leaving = broker::http_page("GET", target, facts);
    EXPECT_EQ(leaving.rfind("HTTP/1.1 503 ", 0), 0U);
    EXPECT_NE(leaving.find("Content-Length: 9\r\n"), std::string::npos);
    EXPECT_EQ(leaving.substr(leaving.find("\r\n\r\n") + 4), "draining\n");
    EXPECT_EQ(broker::http_page("HEAD", target, facts), leaving.substr(0, leaving.size() - 9));
    facts.draining = false;
    facts.awaits_users = true;
    const std::string closed = broker::http_page("GET", target, facts);
    EXPECT_EQ(closed.rfind("HTTP/1.1 503 ", 0), 0U);
    EXPECT_EQ(closed.substr(closed.find("\r\n\r\n") + 4), "no users\n");
    facts.awaits_users = false;
  }
  EXPECT_EQ(broker::http_page("GET", "/", facts).rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
}

TEST(GatewayAdmin, TablesHoldWhatTheirRowsSay) {
  broker::SessionBoard board;
  board.attached({.number = 3,
                  .servant = true,
                  .suspended = false,
                  .credit = 2,
                  .pid = 77,
                  .uid = 1000,
                  .since = 5,
                  .name = "q1"},
                 board.lock());
  board.attached({.number = 4,
                  .servant = false,
                  .suspended = false,
                  .credit = 0,
                  .pid = 78,
                  .uid = 1000,
                  .since = 6,
                  .name = "client"},
                 board.lock());
  board.attached({.number = 5,
                  .servant = true,
                  .suspended = false,
                  .credit = 1,
                  .pid = 79,
                  .uid = 1000,
                  .since = 7,
                  .name = "q2"},
                 board.lock());
  board.held(3, true, false);
  board.detached(5);
  const kdb::Value servants = broker::servants_table(board.rows());
  ASSERT_EQ(servants.count(), 1U);
  EXPECT_EQ(servants.column("qsvr")->items<std::string>()[0], "q1");
  EXPECT_EQ(servants.column("suspended")->items<std::uint8_t>()[0], 1);
  const std::array<broker::ClientRow, 1> connections{{{.handle = 9,
                                                       .since = 1,
                                                       .requests = 2,
                                                       .pending = 3,
                                                       .sent_bytes = 4,
                                                       .waiting_bytes = 5,
                                                       .user = "bob",
                                                       .address = "127.0.0.1:1"}}};
  const kdb::Value clients = broker::clients_table(connections, board.rows());
  ASSERT_EQ(clients.count(), 2U);
  EXPECT_EQ(clients.column("handle")->items<std::int32_t>()[0], 9);
  EXPECT_EQ(clients.column("handle")->items<std::int32_t>()[1], kdb::kNullInt);
  EXPECT_EQ(clients.column("address")->items<std::string>()[1], "pid:78");
  broker::QueryLog log(1024, broker::kForever);
  for (std::int64_t i = 0; i < 1500; ++i) {
    log.add(7).qid = i;
  }
  EXPECT_EQ(log.last(5000, 7).size(), 1024U);
  EXPECT_EQ(log.last(2, 7)[0].qid, 1498);
  EXPECT_TRUE(log.last(0, 7).empty());
  const kdb::Value queries = broker::queries_table(log.last(2, 7), board.rows());
  EXPECT_EQ(queries.column("qid")->items<std::int64_t>()[1], 1499);
  EXPECT_EQ(queries.column("execution")->items<std::int64_t>()[1], kdb::kNullLong);
  const std::array<broker::CounterRow, 1> counters{{{"a", 5}}};
  EXPECT_EQ(broker::stats_dict(counters).find("a"), kdb::Value::long_atom(5));
}

}  // namespace
}  // namespace mserve::test
