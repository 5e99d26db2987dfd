// SPDX-License-Identifier: Apache-2.0
// Any datagram as each message of the handshake and of an operator: what a parser takes is within
// every bound that the code behind it relies on, and reads the same from its own bytes. The first
// input byte chooses the message, so that most inputs get past the header.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "mserve/shm/rendezvous.hpp"

namespace {

using namespace mserve;
using namespace mserve::shm;
using Bytes = std::span<const std::byte>;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

template <std::size_t N>
void require_text(const char (&field)[N]) {
  require(field[N - 1] == '\0' && text_of(field).size() < N);
}

void require_ring(std::uint32_t bytes) {
  require(std::has_single_bit(bytes) && bytes >= kRingBytesMin && bytes <= kRingBytesMax);
}

/// What was taken, sent on as a message of this version, is taken again.
template <class Message, class Parse>
void require_stable(Message message, const Parse& parse) {
  message.header.bytes = sizeof(Message);
  if constexpr (requires { message.protocol_minor; }) {
    message.protocol_minor = std::min(message.protocol_minor, kProtocolMinor);
  }
  require(static_cast<bool>(parse(wire_bytes(message))));
}

void fuzz_hello(Bytes bytes) {
  const auto hello = parse_hello(bytes);
  if (!hello) {
    return;
  }
  const Hello& h = hello.value();
  if (h.ring_bytes != 0) {
    require_ring(h.ring_bytes);
  }
  require(h.credit <= kCreditMax && (h.role != Role::servant || h.credit > 0));
  require_text(h.name);
  require_text(h.tags);
  require_text(h.user);
  require_text(h.password);
  require_stable(h, parse_hello);
}

void fuzz_welcome(Bytes bytes) {
  for (const Role role : {Role::client, Role::servant, Role::observer, Role::gateway}) {
    const auto welcome = parse_welcome(bytes, role);
    if (!welcome) {
      continue;
    }
    const Welcome& w = welcome.value();
    require_text(w.route_rule);
    require_text(w.counters_name);
    require_text(w.broker_version);
    require_text(w.reason);
    if (w.status == Errc::ok && role != Role::observer) {
      require_ring(w.to_peer_ring_bytes);
      require_ring(w.to_broker_ring_bytes);
      require(w.frame_bytes_max <= w.to_broker_ring_bytes / 4 && w.ring_start % kCacheLine == 0);
      require(w.message_bytes_max <= kMessageBytesLimit && w.window_bytes <= kMessageBytesLimit);
    }
    require_stable(w, [role](Bytes again) { return parse_welcome(again, role); });
  }
}

void fuzz_rest(Bytes bytes) {
  const auto type = parse_wire_header(bytes);
  require(!type || bytes.size() <= kWireBytesMax);
  std::uint64_t session = 0;
  std::memcpy(&session, bytes.data() + 8, sizeof(session));
  require(!parse_mapped(bytes, session) || type.value() == WireType::mapped);
  require(!parse_mapped(bytes, session + 1));
  require(!parse_ready(bytes, session) || type.value() == WireType::ready);
  if (const auto closing = parse_closing(bytes)) {
    require(closing.value().status != Errc::ok);
    require_text(closing.value().reason);
    require_stable(closing.value(), parse_closing);
  }
  if (const auto control = parse_control(bytes)) {
    require_text(control.value().target);
    require_stable(control.value(), parse_control);
  }
  if (const auto reply = parse_control_reply(bytes)) {
    require(reply.value().table_bytes <= kControlTableBytesMax);
    require_text(reply.value().text);
    require_stable(reply.value(), parse_control_reply);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLeast = 1 + sizeof(WireHeader) + sizeof(std::uint64_t);
  if (size < kLeast) {
    return 0;
  }
  const Bytes given = std::as_bytes(std::span(data, size).subspan(1));
  std::array<std::byte, 2 * kWireBytesMax> copy{};
  const std::size_t bytes = std::min(given.size(), copy.size());
  std::copy_n(given.begin(), bytes, copy.begin());
  if (data[0] != 0) {  // else the header is the input's too
    const WireHeader header{kWireMagic, static_cast<WireType>(data[0] % 9),
                            static_cast<std::uint16_t>(bytes)};
    std::memcpy(copy.data(), &header, sizeof(header));
  }
  const Bytes message(copy.data(), bytes);
  fuzz_hello(message);
  fuzz_welcome(message);
  fuzz_rest(message);
  return 0;
}
