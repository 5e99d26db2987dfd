// SPDX-License-Identifier: Apache-2.0
// What is different when the session leads to a gateway, and answers that are two objects.
#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/core.hpp"
#include "lib/remote_answer.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve {
namespace {

constexpr std::byte kErrorObject{0x80};

/// `error` as a kdb+ error object, `info` behind it, and the spans of `out` on both.
std::vector<std::byte> make_error(std::string_view error, std::span<const std::byte> info,
                                  Reply& out) {
  std::vector<std::byte> bytes;
  bytes.reserve(error.size() + 2 + info.size());
  bytes.push_back(kErrorObject);
  std::transform(error.begin(), error.end(), std::back_inserter(bytes),
                 [](char c) { return static_cast<std::byte>(c); });
  bytes.push_back(std::byte{0});
  bytes.insert(bytes.end(), info.begin(), info.end());
  out.payload = std::span(bytes).first(error.size() + 2);
  out.info_object = std::span(bytes).subspan(error.size() + 2);
  return bytes;
}

}  // namespace

Error ClientCore::check_remote_send(std::span<const std::byte> payload,
                                    const SendOptions& options) const noexcept {
  const char* const fault =
      remote_ ? fault_of_remote_request(payload, options.opaque, options.pair) : nullptr;
  return fault != nullptr ? Error{Errc::invalid, 0, fault} : Error{};
}

/// Makes of an answer in two objects (`out.payload` holds both) or of a gateway's answer what a
/// Reply is. @return bytes of our own in which the spans of `out` lie, if they had to be made;
/// otherwise these lie where they did.
std::vector<std::byte> ClientCore::unwrap(Reply& out, std::uint8_t flags) const {
  const bool two = (flags & shm::kFlagPair) != 0;
  if (!remote_) {
    // What is no such pair is handed on as it is, like any other payload that is no kdb+ object.
    if (const auto pair = split_pair(out.payload)) {
      out.payload = pair->result;
      out.info_object = pair->info;
    }
    return {};
  }
  const RemoteAnswer answer = read_remote_answer(out.payload, two);
  const bool info_wanted = (flags & shm::kFlagWantInfo) != 0;
  const auto info = info_wanted ? answer.info : std::span<const std::byte>();
  out.status = answer.status;
  out.payload = {};
  if (info_wanted) {
    out.info = answer.figures;
    out.info_complete = !info.empty();
  }
  if (answer.status == Errc::failed) {
    return make_error(answer.error_text, info, out);
  }
  if (answer.status == Errc::ok) {
    out.payload = answer.result;
    out.info_object = info;
  } else {
    out.info_complete = false;
  }
  return {};
}

/// Back to the local broker, if nothing is in flight and it is there again.
void ClientCore::look_for_home() {
  if (home_at_ns_ == 0 || in_flight_.size() != 0 || pending_ || !options_.reconnect) {
    return;
  }
  const std::uint64_t now = shm::steady_now();
  if (now < home_at_ns_) {
    return;
  }
  home_at_ns_ = shm::add_capped(now, options_.return_ns);
  auto link = source_.home(options_.reattach_ns_max, nullptr);
  if (link) {
    leave_link();
    use(std::move(link).value());
  }
}

}  // namespace mserve
