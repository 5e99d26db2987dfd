// SPDX-License-Identifier: Apache-2.0
#include "gateway/readiness.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <utility>

namespace mserve::broker {

namespace asio = boost::asio;

namespace {

asio::posix::stream_descriptor::wait_type wait_type_of(Readiness::What what) noexcept {
  switch (what) {
    case Readiness::What::readable:
      return asio::posix::stream_descriptor::wait_read;
    case Readiness::What::writable:
      return asio::posix::stream_descriptor::wait_write;
    case Readiness::What::hung_up:
      break;
  }
  return asio::posix::stream_descriptor::wait_error;
}

}  // namespace

struct Readiness::Parts {
  explicit Parts(Handler given)
      : handler(std::move(given)),
        context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE),
        work(context.get_executor()) {}

  Handler handler;
  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
};

/// Lives on until the operations that were pending at its end have been told so: each of them holds
/// a reference.
class Readiness::Watched {
 public:
  Watched(Parts& parts, std::uint64_t key) : parts_(parts), descriptor_(parts.context), key_(key) {}

  bool open(int fd) {
    boost::system::error_code error;
    descriptor_.assign(fd, error);
    return !error;
  }

  void watch(What what) {
    bool& pending = pending_[static_cast<std::size_t>(what)];
    if (pending) {
      return;
    }
    pending = true;
    ++references_;
    descriptor_.async_wait(wait_type_of(what),
                           [this, what](const boost::system::error_code& error) {
                             pending_[static_cast<std::size_t>(what)] = false;
                             if (!closed_ && error != asio::error::operation_aborted) {
                               parts_.handler(key_, what);
                             }
                             drop();
                           });
  }

  void close() noexcept {
    closed_ = true;
    boost::system::error_code ignored;
    descriptor_.close(ignored);
    drop();
  }

 private:
  void drop() noexcept {
    if (--references_ == 0) {
      delete this;
    }
  }

  Parts& parts_;
  asio::posix::stream_descriptor descriptor_;
  std::uint64_t key_;
  std::uint32_t references_ = 1;  // the Handle's
  bool closed_ = false;
  bool pending_[3] = {};
};

void Readiness::Closer::operator()(Watched* watched) const noexcept {
  watched->close();
}

Readiness::Readiness(Handler handler) : parts_(std::make_unique<Parts>(std::move(handler))) {}

Readiness::~Readiness() {
  // What was closed last is still to be told so, and freed by that.
  parts_->work.reset();
  parts_->context.restart();
  parts_->context.poll();
}

Readiness::Handle Readiness::add(int fd, std::uint64_t key) {
  auto watched = std::make_unique<Watched>(*parts_, key);
  if (!watched->open(fd)) {
    ::close(fd);
    return nullptr;
  }
  return Handle(watched.release());
}

Readiness::Handle Readiness::add_duplicate(int fd, std::uint64_t key) {
  return add(::fcntl(fd, F_DUPFD_CLOEXEC, 0), key);
}

void Readiness::watch(Watched& watched, What what) {
  watched.watch(what);
}

bool Readiness::poll() {
  return parts_->context.poll_one() != 0;
}

bool Readiness::wait(std::uint64_t ns) {
  return parts_->context.run_one_for(std::chrono::nanoseconds(ns)) != 0;
}

}  // namespace mserve::broker
