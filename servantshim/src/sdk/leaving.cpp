// SPDX-License-Identifier: Apache-2.0
#include "leaving.hpp"

#include <array>
#include <cstddef>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::servant {

void Leaving::begin(const std::string& broker, const std::string& directory, std::uint32_t servant,
                    std::uint64_t timeout_ns) {
  constexpr std::uint64_t kAskNs = 100'000'000;
  socket_.reset();
  const auto path =
      shm::socket_path(directory.empty() ? shm::default_directory() : directory, broker, nullptr);
  shm::Control request;
  request.verb = shm::Verb::drain;
  request.timeout_ns = timeout_ns;
  if (!path || !shm::set_text(request.target, std::to_string(servant))) {
    return;
  }
  const std::uint64_t deadline_ns = shm::steady_now() + kAskNs;
  auto connected = shm::connect_to(path.value(), deadline_ns);
  if (connected &&
      shm::send_message(connected.value().get(), shm::wire_bytes(request), {}, deadline_ns).code ==
          Errc::ok) {
    socket_ = std::move(connected).value();
  }
}

bool Leaving::pending() {
  if (!socket_) {
    return false;
  }
  std::array<std::byte, shm::kWireBytesMax> answer;
  const auto received = shm::receive_message(socket_.get(), answer, 0, shm::steady_now());
  if (!received && received.error().code == Errc::timed_out) {
    return true;
  }
  socket_.reset();  // drained, refused, or the broker is gone: nothing more will come of it
  return false;
}

}  // namespace mserve::servant
