// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/layout.hpp"

namespace mserve::shm {

// The messages of the handshake, one datagram each, in host byte order (both ends share memory):
//
//   peer  Hello ──────►  broker
//         ◄──── Welcome  with the descriptors [0] broker->peer and [1] peer->broker segment
//         Mapped ──────►  the peer has mapped both; the broker seals and maps its own
//         ◄────── Ready  from here on one-byte datagrams are bells, both ways
//         ◄──── Closing  any time after Ready: why the broker ends the session
//
//   operator  Control ──►  broker           instead of Hello, since 1.2
//             ◄── ControlReply  once it is done, for Control::timeout_ns at most; then the broker
//                               hangs up. With a table, its memory rides on it as a descriptor.
//
// A broker of protocol 1.1 or less answers Control as it answers any first message that it does not
// know: with a Welcome that refuses, status `protocol`.
//
// Layout is ABI. Fields are checked by the parse functions; a field may be used only after that.
// Texts are NUL-terminated, and zero from the NUL to the end.

inline constexpr std::uint32_t kWireMagic = 0x3152534dU;  // "MSR1", little endian
inline constexpr std::uint16_t kProtocolMajor = 1;
inline constexpr std::uint16_t kProtocolMinor = 3;

/// Largest message of any minor version; receive into a buffer of this size.
inline constexpr std::size_t kWireBytesMax = 1024;

/// Bounds that the parse functions hold the other side to.
inline constexpr std::uint32_t kCreditMax = 4096;                            ///< Requests.
inline constexpr std::uint64_t kMessageBytesLimit = std::uint64_t{1} << 40;  ///< Any message.

/// Most bytes of a table that comes with a ControlReply.
inline constexpr std::uint64_t kControlTableBytesMax = std::uint64_t{1} << 28;

enum class WireType : std::uint16_t {
  hello = 1,
  welcome = 2,
  mapped = 3,
  ready = 4,
  closing = 5,
  control = 6,
  control_reply = 7,
};

/// What an operator asks for. A broker refuses those that it does not know with `invalid`.
enum class Verb : std::uint32_t {
  pause = 1,      ///< The target gets no new requests.
  resume = 2,     ///< Takes back what pause or drain did.
  drain = 3,      ///< As pause; answered when the target runs nothing any more.
  retire = 4,     ///< As drain; then the sessions are ended for good.
  servants = 5,   ///< A table of the servants that are attached.
  queries = 6,    ///< A table of the newest queries that kdb+ clients had answered.
  policy = 7,     ///< Servants are chosen by the policy that Control::target names from now on.
  log_level = 8,  ///< The log shows what is of the level that Control::target names, and above.
  /// The configuration is read again, as at SIGHUP. The answer is a table with a row for each key
  /// that changed and one, `document`, that names the cluster's document if one was read; or, with
  /// the status `invalid`, for each fault, and then nothing was changed: `key` (a symbol; empty:
  /// the fault names its place), `value` (TOML) and `fault` (both strings).
  reload = 9,
};

enum class Role : std::uint32_t {
  client = 1,    ///< Sends requests; has a control ring.
  servant = 2,   ///< Answers them.
  observer = 3,  ///< Only learns the broker's state and counters; has no segments.
  gateway = 4,   ///< A client with many origins: the broker's own TCP side, nobody else.
};

/// How parking is made safe; both sides must do the same (parking.hpp).
enum class WakeMode : std::uint16_t {
  membarrier = 1,  ///< Peers register for membarrier(GLOBAL_EXPEDITED); hot paths pay nothing.
  seq_cst = 2,     ///< The fallback: sequentially consistent commits on both sides.
};

/// Start of every message. `bytes` is the length of the whole datagram.
struct WireHeader {
  std::uint32_t magic = kWireMagic;
  WireType type = WireType::hello;
  std::uint16_t bytes = 0;
};
static_assert(std::is_trivially_copyable_v<WireHeader> && sizeof(WireHeader) == 8);

/// The farthest tier of a servant. Tier 0 is this host; 1 another host of the same zone, 2 of the
/// same region, 3 elsewhere. A tier is used only when no nearer one can serve.
inline constexpr std::uint32_t kTierMax = 3;
/// The bits of Hello::flags that hold the tier of a servant.
inline constexpr std::uint32_t kHelloTierMask = 3;
static_assert(kTierMax <= kHelloTierMask);

/// Peer to broker, first message.
struct Hello {
  WireHeader header{kWireMagic, WireType::hello, 544};
  std::uint16_t protocol_major = kProtocolMajor;
  std::uint16_t protocol_minor = kProtocolMinor;
  std::uint16_t layout_major = kLayoutMajor;
  std::uint16_t layout_minor = kLayoutMinor;
  Role role = Role::client;
  std::uint32_t flags = 0;       ///< A servant's tier, 0 to kTierMax; zero of all others.
  std::uint32_t ring_bytes = 0;  ///< Wanted, a power of two; 0: the broker's default.
  std::uint32_t credit = 0;      ///< Servants: 1..kCreditMax; others up to kCreditMax, not used.
  char name[64] = {};            ///< [A-Za-z0-9._-]; may be empty.
  char tags[256] = {};           ///< Printable ASCII; may be empty.
  char user[64] = {};            ///< Printable ASCII without spaces; empty where not asked for.
  char password[128] = {};       ///< No control characters. Wipe the struct after sending.
};
static_assert(std::is_trivially_copyable_v<Hello> && std::is_standard_layout_v<Hello>);
static_assert(sizeof(Hello) == 544 && offsetof(Hello, protocol_major) == 8);
static_assert(offsetof(Hello, protocol_minor) == 10 && offsetof(Hello, layout_major) == 12);
static_assert(offsetof(Hello, layout_minor) == 14 && offsetof(Hello, role) == 16);
static_assert(offsetof(Hello, flags) == 20 && offsetof(Hello, ring_bytes) == 24);
static_assert(offsetof(Hello, credit) == 28 && offsetof(Hello, name) == 32);
static_assert(offsetof(Hello, tags) == 96 && offsetof(Hello, user) == 352);
static_assert(offsetof(Hello, password) == 416);

/// Welcome::flags: the broker has rules for placement, so requests should carry a PlacementExt.
inline constexpr std::uint32_t kWelcomePlacement = 1;

/// Broker to peer: the answer to Hello. With status other than ok it is a refusal: only status,
/// reason and broker_version are set, no descriptor rides on it, and the socket is closed.
struct Welcome {
  WireHeader header{kWireMagic, WireType::welcome, 408};
  std::uint16_t protocol_major = kProtocolMajor;
  std::uint16_t protocol_minor = kProtocolMinor;
  Errc status = Errc::ok;
  WakeMode wake_mode = WakeMode::membarrier;  ///< Also set in a refusal.
  std::uint64_t session = 0;            ///< Number (low 32 bits), generation (high 32 bits, not 0).
  std::uint64_t broker_epoch = 0;       ///< Not 0; differs between two lives of one broker name.
  std::uint64_t ring_start = 0;         ///< First cursor of all rings, a multiple of kCacheLine.
  std::uint64_t message_bytes_max = 0;  ///< Largest message, either way, in bytes.
  std::uint64_t window_bytes = 0;       ///< Clients: flow bytes an origin is sent before a grant.
  std::uint32_t to_peer_ring_bytes = 0;    ///< Capacity of the broker's ring; 0 for observers.
  std::uint32_t to_broker_ring_bytes = 0;  ///< Capacity of the peer's ring; 0 for observers.
  std::uint32_t control_bytes = 0;         ///< Capacity of the client's control ring; 0 for others.
  std::uint32_t frame_bytes_max = 0;       ///< Largest frame towards the broker; 0 for observers.
  std::uint32_t credit = 0;                ///< Servants: granted, 1..kCreditMax; 0 for others.
  std::uint32_t servant = 0;               ///< Servants: number in infos, from 1; 0 for others.
  std::int32_t broker_pid = 0;
  std::uint32_t flags =
      0;  ///< kWelcomePlacement or zero; zero to peers of protocol 1.1 and before.
  char route_rule[64] = {};      ///< Printable ASCII without spaces, such as "arg:1"; may be empty.
  char counters_name[96] = {};   ///< For CountersReader::open(); may be empty.
  char broker_version[32] = {};  ///< Printable ASCII.
  char reason[128] = {};         ///< Printable ASCII; empty on success.
};
static_assert(std::is_trivially_copyable_v<Welcome> && std::is_standard_layout_v<Welcome>);
static_assert(sizeof(Welcome) == 408 && offsetof(Welcome, protocol_major) == 8);
static_assert(offsetof(Welcome, protocol_minor) == 10 && offsetof(Welcome, status) == 12);
static_assert(offsetof(Welcome, wake_mode) == 14 && offsetof(Welcome, session) == 16);
static_assert(offsetof(Welcome, broker_epoch) == 24 && offsetof(Welcome, ring_start) == 32);
static_assert(offsetof(Welcome, message_bytes_max) == 40 && offsetof(Welcome, window_bytes) == 48);
static_assert(offsetof(Welcome, to_peer_ring_bytes) == 56);
static_assert(offsetof(Welcome, to_broker_ring_bytes) == 60);
static_assert(offsetof(Welcome, control_bytes) == 64 && offsetof(Welcome, frame_bytes_max) == 68);
static_assert(offsetof(Welcome, credit) == 72 && offsetof(Welcome, servant) == 76);
static_assert(offsetof(Welcome, broker_pid) == 80 && offsetof(Welcome, flags) == 84);
static_assert(offsetof(Welcome, route_rule) == 88 && offsetof(Welcome, counters_name) == 152);
static_assert(offsetof(Welcome, broker_version) == 248 && offsetof(Welcome, reason) == 280);

/// Peer to broker: both segments are mapped, the broker may seal.
struct Mapped {
  WireHeader header{kWireMagic, WireType::mapped, 16};
  std::uint64_t session = 0;  ///< As in Welcome.
};
static_assert(std::is_trivially_copyable_v<Mapped> && std::is_standard_layout_v<Mapped>);
static_assert(sizeof(Mapped) == 16 && offsetof(Mapped, session) == 8);

/// Broker to peer: the rings are polled from now on. Observers get it straight after Welcome.
struct Ready {
  WireHeader header{kWireMagic, WireType::ready, 16};
  std::uint64_t session = 0;  ///< As in Welcome.
};
static_assert(std::is_trivially_copyable_v<Ready> && std::is_standard_layout_v<Ready>);
static_assert(sizeof(Ready) == 16 && offsetof(Ready, session) == 8);

/// Broker to peer: the session ends, and why.
struct Closing {
  WireHeader header{kWireMagic, WireType::closing, 144};
  Errc status = Errc::shutdown;  ///< Never ok.
  std::uint16_t reserved[3] = {};
  char reason[128] = {};  ///< Printable ASCII; may be empty.
};
static_assert(std::is_trivially_copyable_v<Closing> && std::is_standard_layout_v<Closing>);
static_assert(sizeof(Closing) == 144 && offsetof(Closing, status) == 8);
static_assert(offsetof(Closing, reserved) == 10 && offsetof(Closing, reason) == 16);

/// Operator to broker, first and only message. Only the broker's own user and root may send it.
struct Control {
  WireHeader header{kWireMagic, WireType::control, 288};
  std::uint16_t protocol_major = kProtocolMajor;
  std::uint16_t protocol_minor = kProtocolMinor;
  Verb verb = Verb::servants;
  std::uint64_t timeout_ns = UINT64_MAX;  ///< drain, retire: how long to wait; UINT64_MAX: forever.
  std::uint32_t count = 0;                ///< queries: how many at most.
  std::uint32_t reserved = 0;
  char target[256] = {};  ///< Printable ASCII: a target of mserve-stat ctl, such as "all".
};
static_assert(std::is_trivially_copyable_v<Control> && std::is_standard_layout_v<Control>);
static_assert(sizeof(Control) == 288 && offsetof(Control, protocol_major) == 8);
static_assert(offsetof(Control, protocol_minor) == 10 && offsetof(Control, verb) == 12);
static_assert(offsetof(Control, timeout_ns) == 16 && offsetof(Control, count) == 24);
static_assert(offsetof(Control, reserved) == 28 && offsetof(Control, target) == 32);

/// Broker to operator, once. A table is a whole kdb+ object, encoded little endian, in a memfd that
/// nobody can write to any more; its descriptor rides on the message. It comes with the status
/// `ok`, or with `invalid`, to say all that is wrong.
struct ControlReply {
  WireHeader header{kWireMagic, WireType::control_reply, 288};
  std::uint16_t protocol_major = kProtocolMajor;
  std::uint16_t protocol_minor = kProtocolMinor;
  Errc status = Errc::ok;
  std::uint16_t reserved = 0;
  std::uint64_t table_bytes = 0;  ///< 0: no table, and no descriptor.
  std::uint64_t count = 0;        ///< Servants that it was done to, or rows.
  char text[256] = {};            ///< Printable ASCII: what was done, why not, or on the table.
};
static_assert(std::is_trivially_copyable_v<ControlReply> &&
              std::is_standard_layout_v<ControlReply>);
static_assert(sizeof(ControlReply) == 288 && offsetof(ControlReply, protocol_major) == 8);
static_assert(offsetof(ControlReply, protocol_minor) == 10 && offsetof(ControlReply, status) == 12);
static_assert(offsetof(ControlReply, reserved) == 14 && offsetof(ControlReply, table_bytes) == 16);
static_assert(offsetof(ControlReply, count) == 24 && offsetof(ControlReply, text) == 32);

/// What kind of message a datagram claims to be. @return `protocol` when it is too short, carries
/// another magic, lies about its length or has an unknown type: close the session.
[[nodiscard]] Result<WireType> parse_wire_header(std::span<const std::byte> bytes) noexcept;

// The parse functions copy once and check every field. They return `protocol` (malformed: close the
// session) or `version_mismatch` (protocol or layout major; tell the user to upgrade one side). A
// later minor version of the other side may have appended fields, which are ignored.

[[nodiscard]] Result<Hello> parse_hello(std::span<const std::byte> bytes) noexcept;

/// @param role  what our Hello said; it decides which fields must be there. A refusal parses well.
[[nodiscard]] Result<Welcome> parse_welcome(std::span<const std::byte> bytes, Role role) noexcept;

/// @param session  as in Welcome; another one is a fault.
[[nodiscard]] Result<Mapped> parse_mapped(std::span<const std::byte> bytes,
                                          std::uint64_t session) noexcept;
[[nodiscard]] Result<Ready> parse_ready(std::span<const std::byte> bytes,
                                        std::uint64_t session) noexcept;
[[nodiscard]] Result<Closing> parse_closing(std::span<const std::byte> bytes) noexcept;

/// Any verb parses well: whoever serves it refuses those that it does not know.
[[nodiscard]] Result<Control> parse_control(std::span<const std::byte> bytes) noexcept;
[[nodiscard]] Result<ControlReply> parse_control_reply(std::span<const std::byte> bytes) noexcept;

/// A message as the bytes to send; the struct must outlive the span.
template <class Message>
[[nodiscard]] std::span<const std::byte> wire_bytes(const Message& message) noexcept {
  static_assert(std::is_trivially_copyable_v<Message> && sizeof(Message) <= kWireBytesMax);
  return std::as_bytes(std::span<const Message, 1>(&message, 1));
}

/// Fills a text field. @return false, and the field is empty, when `text` does not fit with its NUL
/// or contains one. For reasons use set_reason().
template <std::size_t N>
[[nodiscard]] bool set_text(char (&field)[N], std::string_view text) noexcept {
  std::memset(field, 0, N);
  if (text.size() >= N || text.find('\0') != std::string_view::npos) {
    return false;
  }
  if (!text.empty()) {
    std::memcpy(field, text.data(), text.size());
  }
  return true;
}

/// Fills a reason: cuts what does not fit, and shows what is not printable ASCII as '?'.
template <std::size_t N>
void set_reason(char (&field)[N], std::string_view text) noexcept {
  std::memset(field, 0, N);
  for (std::size_t i = 0; i < text.size() && i + 1 < N; ++i) {
    field[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
  }
}

/// A text field of a parsed message.
template <std::size_t N>
[[nodiscard]] std::string_view text_of(const char (&field)[N]) noexcept {
  return {field, ::strnlen(field, N)};
}

}  // namespace mserve::shm
