// SPDX-License-Identifier: Apache-2.0
// A server that says to each POST what a test wants, byte by byte.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// A POST as it arrived.
struct EtcdPost {
  std::string path;
  std::string head;  ///< Request line and headers.
  std::string body;
};

/// 200 with this body, after which the connection is closed.
inline std::string http_ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}
/// The beginning of an answer that goes on until the connection is closed.
inline std::string http_lines(const std::string& lines) {
  return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + lines;
}

/// One thread; one connection after the other, one request each.
class FakeEtcd {
 public:
  struct Answer {
    std::string bytes{};
    bool held = false;  ///< The connection stays open, for as long as this lives.
  };
  /// @param script  called on the thread of this, for each request.
  explicit FakeEtcd(std::function<Answer(const EtcdPost&)> script) : script_(std::move(script)) {
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(listen(listener_.get(), 64), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    stop_.reset(eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { run(); });
  }
  ~FakeEtcd() {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    thread_.join();
  }
  FakeEtcd(const FakeEtcd&) = delete;
  FakeEtcd& operator=(const FakeEtcd&) = delete;

  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  /// The answer that is held goes on with these bytes; waits until there is one.
  void go_on(const std::string& bytes) {
    EXPECT_TRUE(wait_until(
        [&] {
          const std::lock_guard lock(mutex_);
          for (const shm::UniqueFd& fd : held_) {
            (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
          }
          return !held_.empty();
        },
        "an answer to be held"));
  }

 private:
  [[nodiscard]] bool readable(int fd) const {
    pollfd both[2] = {{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    return poll(both, 2, -1) > 0 && both[1].revents == 0;
  }

  void run() {
    while (readable(listener_.get())) {
      shm::UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      EtcdPost post;
      if (!fd || !read_post(fd.get(), post)) {
        continue;
      }
      const Answer answer = script_(post);
      (void)send(fd.get(), answer.bytes.data(), answer.bytes.size(), MSG_NOSIGNAL);
      if (answer.held) {
        const std::lock_guard lock(mutex_);
        held_.push_back(std::move(fd));
      }
    }
  }

  [[nodiscard]] bool read_post(int fd, EtcdPost& post) const {
    std::string text;
    for (;;) {
      const std::size_t end = text.find("\r\n\r\n");
      const std::size_t length = text.find("Content-Length: ");
      if (end != std::string::npos && length != std::string::npos &&
          text.size() >= end + 4 + std::stoul(text.substr(length + 16))) {
        post.head = text.substr(0, end);
        post.body = text.substr(end + 4);
        post.path = text.substr(5, text.find(' ', 5) - 5);
        return true;
      }
      char buffer[4096];
      if (!readable(fd)) {
        return false;
      }
      const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
      if (got <= 0) {
        return false;
      }
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }

  std::function<Answer(const EtcdPost&)> script_;
  shm::UniqueFd listener_;
  shm::UniqueFd stop_;
  std::string url_;
  std::mutex mutex_;
  std::vector<shm::UniqueFd> held_;
  std::thread thread_;
};

}  // namespace mserve::test
