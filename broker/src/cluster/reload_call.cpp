// SPDX-License-Identifier: Apache-2.0
#include "cluster/reload_call.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

/// Connecting takes microseconds, if the broker runs.
constexpr std::uint64_t kSendNs = 300'000'000;
constexpr std::chrono::seconds kReloadPatience{10};

ReloadAnswer no_answer(Errc code, const std::string& reason) {
  // These do not mend themselves.
  const bool refused =
      code == Errc::version_mismatch || code == Errc::protocol || code == Errc::access;
  return {refused ? ReloadAnswer::Kind::refused : ReloadAnswer::Kind::silent,
          reason.empty() ? advice(code) : reason};
}

bool names_document(const stat::ControlAnswer& answer) {
  const std::vector<stat::ReloadRow> rows = stat::reload_rows(answer);
  return std::any_of(rows.begin(), rows.end(),
                     [](const stat::ReloadRow& row) { return row.key == "document"; });
}

}  // namespace

struct ReloadCall::Parts : std::enable_shared_from_this<ReloadCall::Parts> {
  Parts(asio::io_context& context, stat::BrokerName name)
      : broker(std::move(name)), socket(context), timer(context) {}

  void ask(std::function<void(ReloadAnswer)> told) {
    answered = std::move(told);
    std::string reason;
    auto sent = stat::send_control(broker, {.verb = shm::Verb::reload}, reason,
                                   shm::steady_now() + kSendNs);
    if (!sent) {
      asio::post(timer.get_executor(),
                 [self = shared_from_this(), answer = no_answer(sent.error().code, reason)] {
                   self->finish(answer);
                 });
      return;
    }
    error_code fault;
    (void)socket.assign(sent.value().release(), fault);
    timer.expires_after(kReloadPatience);
    // Its end may be on the way already when an answer comes: that has another turn.
    timer.async_wait([self = shared_from_this(), now = ++turn](error_code canceled) {
      if (!canceled && now == self->turn) {
        self->finish({ReloadAnswer::Kind::silent, "the broker does not answer"});
      }
    });
    socket.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](error_code closed) {
                        if (!closed) {
                          self->receive();
                        }
                      });
  }

  void receive() {
    std::string reason;
    const auto answer = stat::receive_control(socket.native_handle(), reason, 0);
    finish(answer ? reload_answer(answer.value()) : no_answer(answer.error().code, reason));
  }

  void finish(const ReloadAnswer& answer) {
    error_code ignored;
    (void)socket.close(ignored);
    ++turn;
    (void)timer.cancel();
    if (const auto told = std::exchange(answered, nullptr)) {
      told(answer);
    }
  }

  const stat::BrokerName broker;
  asio::posix::stream_descriptor socket;
  asio::steady_timer timer;
  std::function<void(ReloadAnswer)> answered{};
  std::uint64_t turn = 0;
};

ReloadCall::ReloadCall(asio::io_context& context, stat::BrokerName broker)
    : parts_(std::make_shared<Parts>(context, std::move(broker))) {}

ReloadCall::~ReloadCall() {
  parts_->answered = nullptr;
  parts_->finish({});
}

void ReloadCall::ask(std::function<void(ReloadAnswer)> answered) {
  parts_->ask(std::move(answered));
}

ReloadAnswer reload_answer(const stat::ControlAnswer& answer) {
  if (answer.status == Errc::ok) {
    return {ReloadAnswer::Kind::done, answer.text, names_document(answer)};
  }
  if (answer.status != Errc::invalid) {  // it ends, for instance
    return {ReloadAnswer::Kind::silent, answer.text};
  }
  std::string all;
  for (const std::string& fault : stat::reload_faults(answer)) {
    all.append(all.empty() ? "" : "; ").append(fault);
  }
  return {ReloadAnswer::Kind::refused, all};
}

}  // namespace mserve::cluster
