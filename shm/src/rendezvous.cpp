// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/rendezvous.hpp"

#include <bit>

#include "mserve/shm/names.hpp"
#include "mserve/shm/segment.hpp"

namespace mserve::shm {
namespace {

Error malformed(const char* where) noexcept {
  return {Errc::protocol, 0, where};
}
Error other_version(const char* where) noexcept {
  return {Errc::version_mismatch, 0, where};
}

// Where versioned messages carry their major: at one place in every version, ever.
constexpr std::size_t kMajorOffset = 8;
static_assert(offsetof(Hello, protocol_major) == kMajorOffset);
static_assert(offsetof(Welcome, protocol_major) == kMajorOffset);
static_assert(offsetof(Control, protocol_major) == kMajorOffset);
static_assert(offsetof(ControlReply, protocol_major) == kMajorOffset);

bool is_printable_word(char c) noexcept {
  return c > ' ' && c <= '~';
}
bool is_no_control(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte != 0x7f;
}

// A text ends with a NUL inside its field, has allowed characters before and nothing behind it.
template <std::size_t N>
bool text_ok(const char (&field)[N], bool (*allowed)(char)) noexcept {
  std::size_t length = 0;
  while (length < N && field[length] != '\0') {
    if (!allowed(field[length])) {
      return false;
    }
    ++length;
  }
  for (std::size_t i = length; i < N; ++i) {
    if (field[i] != '\0') {
      return false;
    }
  }
  return length < N;
}

bool ring_ok(std::uint32_t bytes) noexcept {
  return std::has_single_bit(bytes) && bytes >= kRingBytesMin && bytes <= kRingBytesMax;
}

bool control_ok(std::uint32_t bytes) noexcept {
  return std::has_single_bit(bytes) && bytes >= kRingBytesMin && bytes <= kControlRingBytesMax;
}

// Every value by name, without a default: a new one cannot be forgotten here.
bool known(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
    case Errc::full:
    case Errc::empty:
    case Errc::timed_out:
    case Errc::too_large:
    case Errc::disconnected:
    case Errc::not_attached:
    case Errc::invalid:
    case Errc::os:
    case Errc::no_broker:
    case Errc::access:
    case Errc::no_memory:
    case Errc::in_use:
    case Errc::unsafe_directory:
    case Errc::protocol:
    case Errc::version_mismatch:
    case Errc::cursor_out_of_range:
    case Errc::bad_frame:
    case Errc::bad_segment:
    case Errc::poisoned:
    case Errc::busy:
    case Errc::no_servant:
    case Errc::servant_died:
    case Errc::shutdown:
    case Errc::cancelled:
    case Errc::stalled:
    case Errc::failed:
    case Errc::slow_reader:
    case Errc::internal:
    case Errc::queue_timeout:
    case Errc::retired:
      return true;
  }
  return false;
}

// Copies a message of fixed length once.
template <class Message>
Result<Message> copy_exact(std::span<const std::byte> bytes, WireType type) noexcept {
  const Result<WireType> found = parse_wire_header(bytes);
  if (!found) {
    return found.error();
  }
  if (found.value() != type) {
    return malformed("message of another type");
  }
  if (bytes.size() != sizeof(Message)) {
    return malformed("message size");
  }
  Message message;
  std::memcpy(&message, bytes.data(), sizeof(message));
  return message;
}

// Copies what this version knows of a message that later minor versions may have made longer.
template <class Message>
Result<Message> copy_versioned(std::span<const std::byte> bytes, WireType type) noexcept {
  const Result<WireType> found = parse_wire_header(bytes);
  if (!found) {
    return found.error();
  }
  if (found.value() != type) {
    return malformed("message of another type");
  }
  std::uint16_t major = 0;
  if (bytes.size() < kMajorOffset + sizeof(major)) {
    return malformed("message size");
  }
  // Before the size: another major may have another one.
  std::memcpy(&major, bytes.data() + kMajorOffset, sizeof(major));
  if (major != kProtocolMajor) {
    return other_version("protocol version");
  }
  if (bytes.size() < sizeof(Message)) {
    return malformed("message size");
  }
  Message message;
  std::memcpy(&message, bytes.data(), sizeof(message));
  if (message.protocol_minor <= kProtocolMinor && bytes.size() != sizeof(Message)) {
    return malformed("message size");
  }
  return message;
}

bool has_no_grant(const Welcome& w) noexcept {
  return w.session == 0 && w.broker_epoch == 0 && w.ring_start == 0 && w.message_bytes_max == 0 &&
         w.window_bytes == 0 && w.to_peer_ring_bytes == 0 && w.to_broker_ring_bytes == 0 &&
         w.control_bytes == 0 && w.frame_bytes_max == 0 && w.credit == 0 && w.servant == 0 &&
         w.broker_pid == 0 && w.route_rule[0] == '\0' && w.counters_name[0] == '\0';
}

bool texts_ok(const Welcome& w) noexcept {
  return text_ok(w.route_rule, is_printable_word) && text_ok(w.counters_name, is_name_character) &&
         text_ok(w.broker_version, is_printable) && text_ok(w.reason, is_printable);
}

bool rings_ok(const Welcome& w) noexcept {
  return ring_ok(w.to_peer_ring_bytes) && ring_ok(w.to_broker_ring_bytes) &&
         w.ring_start % kCacheLine == 0 && w.frame_bytes_max >= kCacheLine &&
         w.frame_bytes_max <= w.to_broker_ring_bytes / 4 && w.message_bytes_max >= 1 &&
         w.message_bytes_max <= kMessageBytesLimit;
}

bool has_no_rings(const Welcome& w) noexcept {
  return w.to_peer_ring_bytes == 0 && w.to_broker_ring_bytes == 0 && w.ring_start == 0 &&
         w.frame_bytes_max == 0 && w.message_bytes_max == 0;
}

bool grant_ok(const Welcome& w, Role role) noexcept {
  const bool session_ok = (w.session >> 32) != 0 && w.broker_epoch != 0 && w.broker_pid > 0;
  const bool no_client_part = w.control_bytes == 0 && w.window_bytes == 0;
  const bool no_servant_part = w.credit == 0 && w.servant == 0;
  switch (role) {
    case Role::client:
    case Role::gateway:
      return session_ok && rings_ok(w) && control_ok(w.control_bytes) && w.window_bytes >= 1 &&
             w.window_bytes <= kMessageBytesLimit && no_servant_part;
    case Role::servant:
      return session_ok && rings_ok(w) && no_client_part && w.credit >= 1 &&
             w.credit <= kCreditMax && w.servant >= 1;
    case Role::observer:
      return session_ok && has_no_rings(w) && no_client_part && no_servant_part;
  }
  return false;
}

}  // namespace

Result<WireType> parse_wire_header(std::span<const std::byte> bytes) noexcept {
  WireHeader header;
  if (bytes.size() < sizeof(header) || bytes.size() > kWireBytesMax) {
    return malformed("message size");
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kWireMagic) {
    return malformed("message magic");
  }
  if (header.bytes != bytes.size()) {
    return malformed("message length");
  }
  switch (header.type) {
    case WireType::hello:
    case WireType::welcome:
    case WireType::mapped:
    case WireType::ready:
    case WireType::closing:
    case WireType::control:
    case WireType::control_reply:
      return header.type;
  }
  return malformed("message type");
}

Result<Hello> parse_hello(std::span<const std::byte> bytes) noexcept {
  Result<Hello> copied = copy_versioned<Hello>(bytes, WireType::hello);
  if (!copied) {
    return copied;
  }
  const Hello& hello = copied.value();
  if (hello.layout_major != kLayoutMajor) {
    return other_version("layout version");
  }
  if (hello.role != Role::client && hello.role != Role::servant && hello.role != Role::observer &&
      hello.role != Role::gateway) {
    return malformed("hello: role");
  }
  if ((hello.flags & ~kHelloTierMask) != 0 || (hello.flags != 0 && hello.role != Role::servant)) {
    return malformed("hello: flags");
  }
  if (hello.ring_bytes != 0 && !ring_ok(hello.ring_bytes)) {
    return malformed("hello: ring size");
  }
  if (hello.credit > kCreditMax || (hello.role == Role::servant && hello.credit == 0)) {
    return malformed("hello: credit");
  }
  if (!text_ok(hello.name, is_name_character) || !text_ok(hello.tags, is_printable) ||
      !text_ok(hello.user, is_printable_word) || !text_ok(hello.password, is_no_control)) {
    return malformed("hello: text");
  }
  return copied;
}

Result<Welcome> parse_welcome(std::span<const std::byte> bytes, Role role) noexcept {
  Result<Welcome> copied = copy_versioned<Welcome>(bytes, WireType::welcome);
  if (!copied) {
    return copied;
  }
  const Welcome& welcome = copied.value();
  if (!known(welcome.status)) {
    return malformed("welcome: status");
  }
  if (welcome.wake_mode != WakeMode::membarrier && welcome.wake_mode != WakeMode::seq_cst) {
    return malformed("welcome: wake mode");
  }
  if (!texts_ok(welcome)) {
    return malformed("welcome: text");
  }
  if (welcome.status != Errc::ok) {
    if (!has_no_grant(welcome)) {
      return malformed("welcome: refusal with a session");
    }
    return copied;
  }
  if (welcome.reason[0] != '\0' || !grant_ok(welcome, role)) {
    return malformed("welcome: session");
  }
  return copied;
}

Result<Mapped> parse_mapped(std::span<const std::byte> bytes, std::uint64_t session) noexcept {
  Result<Mapped> copied = copy_exact<Mapped>(bytes, WireType::mapped);
  if (copied && copied.value().session != session) {
    return malformed("mapped: another session");
  }
  return copied;
}

Result<Ready> parse_ready(std::span<const std::byte> bytes, std::uint64_t session) noexcept {
  Result<Ready> copied = copy_exact<Ready>(bytes, WireType::ready);
  if (copied && copied.value().session != session) {
    return malformed("ready: another session");
  }
  return copied;
}

Result<Closing> parse_closing(std::span<const std::byte> bytes) noexcept {
  Result<Closing> copied = copy_exact<Closing>(bytes, WireType::closing);
  if (!copied) {
    return copied;
  }
  const Closing& closing = copied.value();
  if (closing.status == Errc::ok || !known(closing.status)) {
    return malformed("closing: status");
  }
  for (const std::uint16_t word : closing.reserved) {
    if (word != 0) {
      return malformed("closing: reserved");
    }
  }
  if (!text_ok(closing.reason, is_printable)) {
    return malformed("closing: reason");
  }
  return copied;
}

Result<Control> parse_control(std::span<const std::byte> bytes) noexcept {
  Result<Control> copied = copy_versioned<Control>(bytes, WireType::control);
  if (!copied) {
    return copied;
  }
  const Control& control = copied.value();
  if (control.reserved != 0) {
    return malformed("control: reserved");
  }
  if (!text_ok(control.target, is_printable)) {
    return malformed("control: text");
  }
  return copied;
}

Result<ControlReply> parse_control_reply(std::span<const std::byte> bytes) noexcept {
  Result<ControlReply> copied = copy_versioned<ControlReply>(bytes, WireType::control_reply);
  if (!copied) {
    return copied;
  }
  const ControlReply& reply = copied.value();
  if (!known(reply.status)) {
    return malformed("control reply: status");
  }
  if (reply.reserved != 0) {
    return malformed("control reply: reserved");
  }
  const bool may_have_table = reply.status == Errc::ok || reply.status == Errc::invalid;
  if (reply.table_bytes > kControlTableBytesMax || (!may_have_table && reply.table_bytes != 0)) {
    return malformed("control reply: table");
  }
  if (!text_ok(reply.text, is_printable)) {
    return malformed("control reply: text");
  }
  return copied;
}

}  // namespace mserve::shm
