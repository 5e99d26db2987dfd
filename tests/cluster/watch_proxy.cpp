// SPDX-License-Identifier: Apache-2.0
#include "cluster/watch_proxy.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>

#include "support/wait.hpp"

namespace mserve::test {

namespace {

constexpr int kFreeze = 1;
constexpr int kCut = 2;
constexpr int kStop = 3;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

struct WatchProxy::Pair {
  shm::UniqueFd client;
  shm::UniqueFd server;
  bool known = false;  ///< What it is for.
  bool watches = false;
  bool frozen = false;
  bool over = false;
};

WatchProxy::WatchProxy(std::uint16_t target) : target_(target) {
  listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t bytes = sizeof(address);
  EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
  EXPECT_EQ(listen(listener_.get(), 64), 0);
  EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

WatchProxy::~WatchProxy() {
  order_.store(kStop, std::memory_order_release);
  thread_.join();
}

std::string WatchProxy::url() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

int WatchProxy::watches() const noexcept {
  return watches_.load(std::memory_order_acquire);
}

void WatchProxy::order(int what) {
  order_.store(what, std::memory_order_release);
  EXPECT_TRUE(wait_until([this] { return order_.load(std::memory_order_acquire) == 0; },
                         "the proxy to obey"));
}

void WatchProxy::freeze_watches() {
  order(kFreeze);
}

void WatchProxy::cut_watches() {
  order(kCut);
}

void WatchProxy::carry_out() {
  const int what = order_.load(std::memory_order_acquire);
  for (const auto& pair : pairs_) {
    pair->frozen = pair->frozen || (what == kFreeze && pair->watches);
    pair->over = pair->over || (what == kCut && pair->watches);
  }
  if (what != 0 && what != kStop) {
    order_.store(0, std::memory_order_release);
  }
}

/// @return false: one side is gone.
bool WatchProxy::pass(Pair& pair, bool from_client) const {
  char buffer[16384];
  const shm::UniqueFd& from = from_client ? pair.client : pair.server;
  const shm::UniqueFd& to = from_client ? pair.server : pair.client;
  const ssize_t got = recv(from.get(), buffer, sizeof(buffer), 0);
  if (got <= 0) {
    return false;
  }
  if (from_client && !pair.known) {
    pair.known = true;
    pair.watches =
        std::string_view(buffer, static_cast<std::size_t>(got)).starts_with("POST /v3/watch");
  }
  return send(to.get(), buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL) == got;
}

void WatchProxy::run() {
  while (order_.load(std::memory_order_acquire) != kStop) {
    std::vector<pollfd> fds{{listener_.get(), POLLIN, 0}};
    for (const auto& pair : pairs_) {
      fds.push_back({pair->client.get(), POLLIN, 0});
      fds.push_back({pair->frozen ? -1 : pair->server.get(), POLLIN, 0});
    }
    constexpr int kLookMs = 5;  // for orders
    (void)poll(fds.data(), fds.size(), kLookMs);
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      Pair& pair = *pairs_[i];
      const bool watched = pair.watches;
      for (const bool from_client : {true, false}) {
        if (fds[1 + 2 * i + (from_client ? 0 : 1)].revents != 0 && !pair.over) {
          pair.over = !pass(pair, from_client);
        }
      }
      if (pair.watches && !watched) {
        watches_.fetch_add(1, std::memory_order_release);
      }
    }
    if (fds[0].revents != 0) {
      auto pair = std::make_unique<Pair>();
      pair->client.reset(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      pair->server.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = loopback(target_);
      if (pair->client && connect(pair->server.get(), reinterpret_cast<const sockaddr*>(&address),
                                  sizeof(address)) == 0) {
        pairs_.push_back(std::move(pair));
      }
    }
    carry_out();
    std::erase_if(pairs_, [](const auto& pair) { return pair->over; });
  }
}

}  // namespace mserve::test
