// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/client.hpp"

#include <algorithm>
#include <cstdlib>

#include "lib/core.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve {
namespace {

std::string default_broker() {
  const char* name = std::getenv("MSERVE_NAME");
  return name != nullptr && *name != '\0' ? name : "default";
}

}  // namespace

std::uint64_t deadline_after(std::chrono::nanoseconds from_now) noexcept {
  const std::uint64_t now = shm::steady_now();
  const auto span =
      static_cast<std::uint64_t>(std::max<std::chrono::nanoseconds::rep>(from_now.count(), 0));
  return shm::add_capped(now, span);
}

Client::Client(std::unique_ptr<ClientCore> core) noexcept : core_(std::move(core)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::connect(std::string_view broker, std::string* reason) {
  ClientOptions options;
  options.broker = broker;
  return connect(options, reason);
}

Result<Client> Client::connect(const ClientOptions& options, std::string* reason) {
  ClientOptions effective = options;
  if (effective.broker.empty()) {
    effective.broker = default_broker();
  }
  if (std::string faults = effective.validate(); !faults.empty()) {
    if (reason != nullptr) {
      *reason = std::move(faults);
    }
    return Error{Errc::invalid, 0, "ClientOptions"};
  }
  auto core = std::make_unique<ClientCore>(effective, links_of(effective));
  if (const Error failure = core->attach(effective.attach_ns_max, reason);
      failure.code != Errc::ok) {
    return failure;
  }
  return Client(std::move(core));
}

Result<std::uint64_t> Client::try_send(std::span<const std::byte> payload,
                                       const SendOptions& options) {
  return core_->try_send(payload, options);
}

Result<std::uint64_t> Client::send(std::span<const std::byte> payload, const SendOptions& options,
                                   std::uint64_t deadline_ns) {
  return core_->send(payload, options, deadline_ns);
}

bool Client::cancel(std::uint64_t id) {
  return core_->cancel(id);
}
Errc Client::poll(Reply& out) {
  return core_->poll(out);
}
Errc Client::wait(std::uint64_t deadline_ns) {
  return core_->wait(deadline_ns);
}

Errc Client::await(std::uint64_t id, Reply& out, std::uint64_t deadline_ns) {
  return core_->await(id, out, deadline_ns);
}

Result<OwnedReply> Client::call(std::span<const std::byte> payload, const SendOptions& options,
                                std::uint64_t deadline_ns) {
  return core_->call(payload, options, deadline_ns);
}

Errc Client::reconnect(std::uint64_t deadline_ns, std::string* reason) {
  return core_->reconnect(deadline_ns, reason);
}

bool Client::attached() const noexcept {
  return core_->attached();
}
std::size_t Client::in_flight() const noexcept {
  return core_->in_flight();
}
std::size_t Client::unread() const noexcept {
  return core_->unread();
}
std::uint64_t Client::max_payload_bytes() const noexcept {
  return core_->max_payload_bytes();
}
std::uint64_t Client::try_payload_bytes_max() const noexcept {
  return core_->try_payload_bytes_max();
}
const shm::SessionInfo& Client::session() const noexcept {
  return core_->session();
}
const std::string& Client::user() const noexcept {
  return core_->user();
}
const std::string& Client::last_failure() const noexcept {
  return core_->last_failure();
}
const std::string& Client::endpoint() const noexcept {
  return core_->endpoint();
}
std::uint64_t Client::late_replies() const noexcept {
  return core_->late_replies();
}
int Client::fd() const noexcept {
  return core_->fd();
}
bool Client::prepare_sleep() {
  return core_->prepare_sleep();
}
void Client::finish_sleep() {
  core_->finish_sleep();
}

}  // namespace mserve
