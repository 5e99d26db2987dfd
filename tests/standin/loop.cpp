// SPDX-License-Identifier: Apache-2.0
#include "standin/loop.hpp"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "standin/sockets.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kSleepMsMax = std::uint64_t{1000} * 3600 * 24 * 365;

}  // namespace

Loop::Loop(StandinOptions options)
    : options_(std::move(options)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      evaluator_(options_.rows, [this](std::uint64_t ms) { wait(ms); }),
      buffer_(kReadBytes) {
  // servant.q and qsvr.q differ in when they end with their connection.
  if (options_.form == Form::qsvr) {
    options_.servant_of.clear();
    options_.exit_on_close = true;
  }
  options_.exit_on_close = options_.exit_on_close || !options_.servant_of.empty();
  listeners_.push_back(listen_tcp(options_.port));
  if (options_.uds) {
    const std::string name = uds_name(options_.uds_dir, options_.port);
    listeners_.push_back(listen_unix(name, true));
    listeners_.push_back(listen_unix(name, false));
    socket_path_ = name;
  }
}

void Loop::close_all() noexcept {
  if (!socket_path_.empty()) {
    unlink(std::exchange(socket_path_, {}).c_str());
  }
  listeners_.clear();
  connections_.clear();
  counters_.open.store(0, std::memory_order_release);
  counters_.running.store(false, std::memory_order_release);
}

void Loop::set(std::atomic<bool>& flag, bool value) noexcept {
  flag.store(value, std::memory_order_release);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

bool Loop::given_up() const noexcept {
  return stop_.load(std::memory_order_acquire) || drop_.load(std::memory_order_acquire);
}

void Loop::drain_wake() noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

void Loop::wait(std::uint64_t ms) {
  const std::uint64_t until = shm::steady_now() + std::min(ms, kSleepMsMax) * kNsPerMs;
  for (;;) {
    const bool held = held_.load(std::memory_order_acquire);
    const std::uint64_t now = shm::steady_now();
    if (given_up() || interrupt_.load(std::memory_order_acquire) || (!held && now >= until)) {
      return;
    }
    const std::uint64_t left = until - std::min(now, until);
    const timespec span{static_cast<time_t>(left / 1'000'000'000),
                        static_cast<long>(left % 1'000'000'000)};
    pollfd wake{wake_.get(), POLLIN, 0};
    if (ppoll(&wake, 1, held ? nullptr : &span, nullptr) > 0) {
      drain_wake();
    }
  }
}

std::vector<pollfd> Loop::poll_set() const {
  std::vector<pollfd> set = {{wake_.get(), POLLIN, 0}};
  for (const shm::UniqueFd& listener : listeners_) {
    set.push_back({listener.get(), POLLIN, 0});
  }
  for (const auto& connection : connections_) {
    const bool writes = connection->sent < connection->out.size();
    set.push_back({connection->fd.get(),
                   static_cast<short>((connection->ended ? 0 : POLLIN) | (writes ? POLLOUT : 0)),
                   0});
  }
  return set;
}

void Loop::run() {
  while (!finished_ && !stop_.load(std::memory_order_acquire)) {
    std::vector<pollfd> set = poll_set();
    if (poll(set.data(), set.size(), -1) < 0) {
      continue;  // a signal, whose handler may have asked to stop
    }
    // Not in every round: benchmarks compare with what a query costs here.
    if (set[0].revents != 0) {
      drain_wake();
      if (interrupt_.load(std::memory_order_acquire)) {
        break;  // as a q without a console does while it evaluates nothing
      }
    }
    const std::size_t first = 1 + listeners_.size();
    for (std::size_t i = first; i < set.size(); ++i) {
      Connection& connection = *connections_[i - first];
      if ((set[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !connection.ended) {
        read_from(connection);
      }
      if (!finished_) {
        serve(connection);
        flush(connection);
        // A peer that only said it sends no more still gets its answers.
        connection.closed = connection.closed || (connection.ended && connection.out.empty());
      }
    }
    if (drop_.exchange(false, std::memory_order_acq_rel)) {
      for (const auto& connection : connections_) {
        connection->closed = true;
      }
    }
    for (std::size_t i = 1; i < first; ++i) {
      if (set[i].revents != 0 && !finished_) {
        accept_from(set[i].fd);
      }
    }
    remove_closed();
  }
  close_all();
}

void Loop::accept_from(int listener) {
  auto connection = std::make_unique<Connection>();
  connection->fd = accept_one(listener, connection->address);
  if (connection->fd) {
    connections_.push_back(std::move(connection));
  }
}

void Loop::read_from(Connection& connection) {
  const ssize_t got = recv(connection.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got > 0) {
    connection.in.insert(connection.in.end(), buffer_.begin(), buffer_.begin() + got);
  } else if (got == 0) {
    connection.ended = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    connection.closed = true;
  }
}

void Loop::flush(Connection& connection) {
  const std::size_t end = connection.die_at.value_or(connection.out.size());
  while (!connection.closed && connection.sent < end) {
    const std::size_t piece = options_.reply == Reply::dribble ? 1 : end - connection.sent;
    const ssize_t done = send(connection.fd.get(), connection.out.data() + connection.sent, piece,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0) {
      connection.closed = errno != EAGAIN && errno != EINTR;
      break;
    }
    connection.sent += static_cast<std::size_t>(done);
  }
  if (connection.closed || connection.sent < end) {
    return;
  }
  if (connection.sent == connection.out.size()) {
    counters_.answers.fetch_add(connection.answers, std::memory_order_release);
    connection.answers = 0;
    connection.out.clear();
    connection.sent = 0;
  }
  if (connection.die_at) {
    die(connection);
  }
}

void Loop::remove_closed() {
  std::uint64_t closed = 0;
  std::erase_if(connections_, [&closed](const auto& connection) {
    closed += connection->closed && connection->accepted ? 1 : 0;
    return connection->closed;
  });
  counters_.open.fetch_sub(closed, std::memory_order_release);
  finished_ = finished_ || (closed > 0 && options_.exit_on_close);
}

}  // namespace mserve::test
