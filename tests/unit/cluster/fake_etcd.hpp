// SPDX-License-Identifier: Apache-2.0
// A server that says to each POST what a test wants, byte by byte.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
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

/// What one side says and hears, by TLS or without.
class EtcdWire {
 public:
  EtcdWire() = default;
  /// @param tls  may be null. @return false: there is no such connection.
  [[nodiscard]] bool begin(shm::UniqueFd fd, SSL_CTX* tls) {
    fd_ = std::move(fd);
    if (tls == nullptr || !fd_) {
      return static_cast<bool>(fd_);
    }
    tls_.reset(SSL_new(tls));
    return SSL_set_fd(tls_.get(), fd_.get()) == 1 && SSL_accept(tls_.get()) == 1;
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  ssize_t hear(char* to, std::size_t bytes) {
    return tls_ ? SSL_read(tls_.get(), to, static_cast<int>(bytes)) : recv(fd_.get(), to, bytes, 0);
  }
  void say(const std::string& bytes) {
    if (tls_) {
      (void)SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size()));
    } else {
      (void)send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  }
  /// As a server does that means it.
  void say_good_bye() {
    if (tls_) {
      (void)SSL_shutdown(tls_.get());
    }
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };
  shm::UniqueFd fd_;
  std::unique_ptr<SSL, Free> tls_;
};

/// One thread; one connection after the other, one request each.
class FakeEtcd {
 public:
  struct Answer {
    std::string bytes{};
    bool held = false;  ///< The connection stays open, for as long as this lives.
  };
  /// @param script  called on the thread of this, for each request.
  /// @param tls  given: it speaks TLS; outlives this.
  explicit FakeEtcd(std::function<Answer(const EtcdPost&)> script, SSL_CTX* tls = nullptr)
      : script_(std::move(script)), tls_(tls) {
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(listen(listener_.get(), 64), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    url_ = (tls_ != nullptr ? "https://127.0.0.1:" : "http://127.0.0.1:") +
           std::to_string(ntohs(address.sin_port));
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
          for (EtcdWire& wire : held_) {
            wire.say(bytes);
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
    sigset_t pipe;  // TLS writes as if nobody ever hung up
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    while (readable(listener_.get())) {
      EtcdWire wire;
      EtcdPost post;
      if (!wire.begin(shm::UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)),
                      tls_) ||
          !read_post(wire, post)) {
        continue;
      }
      const Answer answer = script_(post);
      wire.say(answer.bytes);
      if (answer.held) {
        const std::lock_guard lock(mutex_);
        held_.push_back(std::move(wire));
      } else {
        wire.say_good_bye();
      }
    }
  }

  [[nodiscard]] bool read_post(EtcdWire& wire, EtcdPost& post) const {
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
      if (!readable(wire.fd())) {
        return false;
      }
      const ssize_t got = wire.hear(buffer, sizeof(buffer));
      if (got <= 0) {
        return false;
      }
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }

  std::function<Answer(const EtcdPost&)> script_;
  SSL_CTX* tls_;
  shm::UniqueFd listener_;
  shm::UniqueFd stop_;
  std::string url_;
  std::mutex mutex_;
  std::vector<EtcdWire> held_;
  std::thread thread_;
};

}  // namespace mserve::test
