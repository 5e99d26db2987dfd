// SPDX-License-Identifier: Apache-2.0
// The socket of operators, with clients that do and do not behave; and mserve-stat's side of it.
#include "cluster/document_socket.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/document_desk.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "stat/cluster_call.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::cluster {
namespace {

class Socket : public ::testing::Test {
 protected:
  Socket() { reopen(); }
  void reopen() {
    socket_.reset();
    socket_.emplace(
        context_, path_,
        [this](const std::string& request, const std::string& by, DocumentSocket::Reply reply) {
          requests_.push_back(request);
          by_ = by;
          replies_.push_back(std::move(reply));
        });
    EXPECT_EQ(socket_->open(), "");
  }
  [[nodiscard]] shm::UniqueFd connected() const {
    shm::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  void run_until(const std::function<bool()>& condition, const std::string& what) {
    EXPECT_TRUE(test::wait_until(
        [&] {
          (void)context_.run_one_for(std::chrono::milliseconds(10));
          return condition();
        },
        what));
  }
  /// What comes until the other side hangs up.
  std::string read_all(int fd) {
    std::string text;
    run_until(
        [&] {
          char buffer[4096];
          const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
          text.append(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
          return got == 0 || (got < 0 && errno != EAGAIN);
        },
        "the end of an answer");
    return text;
  }
  static void say(int fd, const std::string& text) {
    EXPECT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }

  test::TempDir dir_;
  std::string path_ = document_socket_path(dir_.path(), "b");
  boost::asio::io_context context_{1};
  std::vector<std::string> requests_;
  std::vector<DocumentSocket::Reply> replies_;
  std::string by_;
  std::optional<DocumentSocket> socket_;
};

TEST_F(Socket, AsksAndAnswersOneLineEach) {
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const shm::UniqueFd one = connected();
  const shm::UniqueFd two = connected();
  say(one.get(), "{\"a\"");
  say(two.get(), "second\n");
  run_until([&] { return replies_.size() == 1; }, "the second request");
  say(one.get(), ":1}\n");
  run_until([&] { return replies_.size() == 2; }, "the first request");
  EXPECT_EQ(requests_, (std::vector<std::string>{"second\n", "{\"a\":1}\n"}));
  EXPECT_NE(by_, "");
  replies_[1]("to one\n");
  replies_[0]("to two\n");
  EXPECT_EQ(read_all(one.get()), "to one\n");
  EXPECT_EQ(read_all(two.get()), "to two\n");
  replies_[0]("again, to nobody\n");
  socket_.reset();
  EXPECT_NE(::stat(path_.c_str(), &status), 0) << "it takes its file away";
}

TEST_F(Socket, WhoHangsUpOrSaysTooMuchTakesNoPlace) {
  for (int i = 0; i < 40; ++i) {
    shm::UniqueFd fd = connected();
    say(fd.get(), i % 2 == 0 ? "half" : "whole\n");
    fd.reset();
  }
  const shm::UniqueFd fd = connected();
  std::string text(kRequestBytesMax + 4096, 'x');
  run_until(
      [&] {
        const ssize_t sent = send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
        text.erase(0, sent > 0 ? static_cast<std::size_t>(sent) : 0);
        return text.empty() || (sent < 0 && errno != EAGAIN);
      },
      "it to be sent or refused");
  (void)read_all(fd.get());
  const std::size_t before = replies_.size();
  EXPECT_LE(before, 20U);
  const shm::UniqueFd last = connected();
  say(last.get(), "x\n");
  run_until([&] { return replies_.size() > before; }, "the last one to be heard");
  for (const auto& reply : replies_) {
    reply("late\n");
  }
  EXPECT_EQ(read_all(last.get()), "late\n");
}

TEST_F(Socket, OneThatIsListenedAtIsKeptAndTakenOverAtItsEnd) {
  std::size_t asked = 0;
  std::optional<DocumentSocket> second;
  second.emplace(context_, path_, [&](const auto&, const auto&, auto) { ++asked; });
  EXPECT_NE(second->open().find("another mserve-cluster"), std::string::npos);
  const shm::UniqueFd one = connected();
  say(one.get(), "x\n");
  run_until([&] { return replies_.size() == 1; }, "the first one to be asked still");
  socket_.reset();
  struct stat there {};
  run_until([&] { return ::stat(path_.c_str(), &there) == 0; }, "the second one to listen");
  const shm::UniqueFd two = connected();
  say(two.get(), "y\n");
  run_until([&] { return asked == 1; }, "the second one to be asked");
}

TEST_F(Socket, WhatLiesThereIsReplacedOnlyIfItIsASocket) {
  {
    const shm::UniqueFd killed(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    socket_.reset();
    ASSERT_EQ(bind(killed.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  reopen();
  const shm::UniqueFd fd = connected();
  say(fd.get(), "x\n");
  run_until([&] { return replies_.size() == 1; }, "the new one to listen");
  DocumentSocket file(context_, dir_.file("file"), [](const auto&, const auto&, auto) {});
  std::ofstream(dir_.file("file")) << "mine";
  EXPECT_NE(file.open(), "");
  EXPECT_EQ(test::read_file(dir_.file("file")), "mine");
  DocumentSocket deep(context_, dir_.file(std::string(120, 'x')),
                      [](const auto&, const auto&, auto) {});
  EXPECT_NE(deep.open().find("too long for a socket"), std::string::npos);
}

TEST_F(Socket, MserveStatAsksAndTellsWhatIsWrong) {
  const stat::BrokerName broker{.name = "b", .directory = dir_.path()};
  const auto call = [&](const stat::DocumentOrder& order, const std::string& line) {
    requests_.clear();
    replies_.clear();
    std::string reason;
    auto answer =
        std::async(std::launch::async, [&] { return stat::call_cluster(broker, order, reason); });
    run_until([&] { return replies_.size() == 1; }, "the request");
    replies_.front()(line);
    run_until([&] { return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready; },
              "the answer");
    return std::make_pair(answer.get(), reason);
  };
  const auto good = call({.verb = "show"}, R"({"format":1,"status":"ok","text":"x"})"
                                           "\n");
  ASSERT_TRUE(good.first) << good.second;
  EXPECT_EQ(good.first.value().text, "x");
  EXPECT_EQ(requests_.front(), R"({"format":1,"verb":"show"})"
                               "\n");
  const auto bad = call({.verb = "show"}, "{}\n");
  EXPECT_EQ(bad.first.error().code, Errc::protocol);
  std::string reason;
  EXPECT_EQ(stat::call_cluster({.name = "../b", .directory = dir_.path()}, {}, reason).error().code,
            Errc::invalid);
  EXPECT_EQ(stat::call_cluster({.name = "c", .directory = dir_.path()}, {}, reason).error().code,
            Errc::no_broker);
  EXPECT_NE(reason.find("is in no cluster"), std::string::npos) << reason;
}

TEST(DocumentFile, IsReadUpToItsSize) {
  const test::TempDir dir;
  std::string fault;
  std::ofstream(dir.file("a")) << std::string(kDocumentBytesMax, '#');
  EXPECT_EQ(stat::read_document_file(dir.file("a"), fault)->size(), kDocumentBytesMax);
  std::ofstream(dir.file("b")) << std::string(kDocumentBytesMax + 1, '#');
  EXPECT_FALSE(stat::read_document_file(dir.file("b"), fault));
  EXPECT_NE(fault.find("at most 256 KiB"), std::string::npos);
  EXPECT_FALSE(stat::read_document_file(dir.path(), fault));
  EXPECT_FALSE(stat::read_document_file(dir.file("none"), fault));
  EXPECT_NE(fault.find("No such file"), std::string::npos);
}

}  // namespace
}  // namespace mserve::cluster
