// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway.hpp"

#include <utility>

#include "control/log.hpp"
#include "gateway/gateway_loop.hpp"

namespace mserve::broker {

Gateway::Gateway(std::unique_ptr<Loop> loop) noexcept : loop_(std::move(loop)) {}
Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::open(Setup setup, std::string& reason) {
  std::vector<MissingSocket> missed;
  auto listeners = Listeners::open(setup.options.gateway, reason, missed);
  if (!listeners) {
    return listeners.error();
  }
  for (const MissingSocket& socket : missed) {
    log(LogLevel::warning, "gateway_socket_missing",
        {{socket.kind, socket.path}, {"reason", LogText{socket.reason}}});
  }
  auto loop = std::make_unique<Loop>(std::move(setup), std::move(listeners).value());
  return std::unique_ptr<Gateway>(new Gateway(std::move(loop)));
}

void Gateway::start() {
  loop_->start();
}
void Gateway::take_leave() noexcept {
  loop_->take_leave();
}
void Gateway::drain() noexcept {
  loop_->drain();
}
void Gateway::stop() noexcept {
  loop_->stop();
}
void Gateway::set_access(std::shared_ptr<const AccessRules> access) {
  loop_->set_access(std::move(access));
}
void Gateway::show_queries(shm::UniqueFd socket, std::size_t count) {
  loop_->show_queries(std::move(socket), count);
}

}  // namespace mserve::broker
