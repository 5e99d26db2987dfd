// SPDX-License-Identifier: Apache-2.0
#include "lib/tcp_dialer.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#include "lib/failures.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/socket.hpp"
#include "mserve/shm/tcp.hpp"

namespace mserve {
namespace {

/// Keep-alive: a gateway whose machine is gone is noticed after 30 s of silence and 3 probes, or
/// when it leaves bytes unacknowledged for 30 s.
constexpr shm::TcpPatience kPatience{
    .idle_s = 30, .every_s = 10, .probes = 3, .user_timeout_ms = 30'000};

/// Addresses of one host that are tried.
constexpr std::size_t kAddressesMax = 8;

std::string text_of_errno(int error) {
  // The usual reason: without -p a broker serves rings alone.
  return std::generic_category().message(error) +
         (error == ECONNREFUSED ? " (nobody listens there; a broker does with -p PORT)" : "");
}

Errc code_of_errno(int error) noexcept {
  switch (error) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ECONNRESET:
      return Errc::no_broker;
    case ETIMEDOUT:
      return Errc::timed_out;
    default:
      return Errc::os;
  }
}

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// @return 0 or an EAI_ code. A numeric address is found without asking anybody.
int look_up(const TcpEndpoint& endpoint, AddressList& out) noexcept {
  const std::string port = std::to_string(endpoint.port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found);
  if (code == EAI_NONAME) {
    hints.ai_flags = AI_NUMERICSERV;
    code = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found);
  }
  out.reset(code == 0 ? found : nullptr);
  return code;
}

}  // namespace

TcpDialer::TcpDialer(std::vector<TcpEndpoint> endpoints, std::string user, std::string password,
                     std::uint64_t connect_ns_max)
    : endpoints_(std::move(endpoints)),
      user_(std::move(user)),
      password_(std::move(password)),
      connect_ns_max_(connect_ns_max) {}

void TcpDialer::reset() noexcept {
  socket_.reset();
  stage_ = Stage::endpoint;
  endpoint_ = 0;
  codes_.clear();
  failures_.clear();
}

Result<TcpSession> TcpDialer::dial(std::uint64_t deadline_ns, std::string* reason) {
  TcpSession session;
  for (;;) {
    if (endpoint_ == endpoints_.size()) {
      *reason = failures_;
      const Errc code = most_hopeful(codes_);
      reset();
      return Error{code, 0, "no TCP endpoint"};
    }
    bool moved = true;
    bool done = false;
    switch (stage_) {
      case Stage::endpoint:
        resolve();
        break;
      case Stage::address:
        start_connecting();
        break;
      case Stage::connecting:
        moved = finish_connecting();
        break;
      case Stage::greeted:
        moved = take_answer(session, done);
        break;
    }
    if (done) {
      *reason = failures_;
      reset();
      return session;
    }
    if (moved) {
      continue;
    }
    const std::uint64_t now = shm::steady_now();
    if (now >= until_ns_) {
      fail_address(Errc::timed_out, stage_ == Stage::connecting
                                        ? "no answer"
                                        : "took the connection, but not the handshake");
    } else if (now >= deadline_ns) {
      *reason = round_so_far();
      return Error{Errc::timed_out, 0, "TCP endpoint"};
    } else {
      pollfd entry{socket_.get(),
                   static_cast<short>(stage_ == Stage::connecting ? POLLOUT : POLLIN), 0};
      (void)shm::wait_any({&entry, 1}, std::min(deadline_ns, until_ns_));
    }
  }
}

void TcpDialer::resolve() {
  AddressList list(nullptr, &::freeaddrinfo);
  addresses_.clear();
  address_ = 0;
  code_ = Errc::no_broker;
  const int code = look_up(endpoints_[endpoint_], list);
  if (code != 0) {
    why_ = code == EAI_SYSTEM ? text_of_errno(errno) : ::gai_strerror(code);
    next_endpoint();
    return;
  }
  for (const addrinfo* at = list.get(); at != nullptr && addresses_.size() < kAddressesMax;
       at = at->ai_next) {
    Address address{};
    if (at->ai_addrlen <= sizeof(address.bytes)) {
      std::memcpy(&address.bytes, at->ai_addr, at->ai_addrlen);
      address.size = at->ai_addrlen;
      addresses_.push_back(address);
    }
  }
  why_ = "no address";
  stage_ = Stage::address;
}

void TcpDialer::start_connecting() {
  if (address_ == addresses_.size()) {
    next_endpoint();
    return;
  }
  const Address& address = addresses_[address_];
  // The endpoint's time is shared among its addresses, so that a dead one leaves the rest a chance.
  until_ns_ = shm::add_capped(shm::steady_now(),
                              std::max<std::uint64_t>(connect_ns_max_ / addresses_.size(), 1));
  socket_.reset(::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) {
    const int error = errno;
    fail_address(error == EMFILE || error == ENFILE ? Errc::no_memory : Errc::os,
                 text_of_errno(error));
    return;
  }
  shm::set_tcp_options(socket_.get(), kPatience);
  const auto* to = reinterpret_cast<const sockaddr*>(&address.bytes);
  if (::connect(socket_.get(), to, address.size) == 0) {
    greet();
  } else if (errno == EINPROGRESS || errno == EINTR) {
    stage_ = Stage::connecting;
  } else {
    const int error = errno;
    fail_address(code_of_errno(error), text_of_errno(error));
  }
}

bool TcpDialer::finish_connecting() {
  pollfd entry{socket_.get(), POLLOUT, 0};
  if (shm::wait_any({&entry, 1}, 0) == Errc::timed_out) {
    return false;
  }
  int error = 0;
  socklen_t size = sizeof(error);
  (void)::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    fail_address(code_of_errno(error), text_of_errno(error));
  } else {
    greet();
  }
  return true;
}

/// `user:password`, the capability, a zero byte. A fresh socket has room for all of it.
void TcpDialer::greet() {
  if (shm::connected_to_itself(socket_.get())) {
    fail_address(Errc::no_broker, text_of_errno(ECONNREFUSED));
    return;
  }
  const TcpEndpoint& endpoint = endpoints_[endpoint_];
  std::string opening =
      endpoint.has_user ? endpoint.user + ':' + endpoint.password : user_ + ':' + password_;
  opening += static_cast<char>(kCapabilityOffered);
  opening += '\0';
  if (::send(socket_.get(), opening.data(), opening.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(opening.size())) {
    fail_address(Errc::no_broker, "closed before the handshake");
    return;
  }
  stage_ = Stage::greeted;
}

bool TcpDialer::take_answer(TcpSession& out, bool& done) {
  std::uint8_t common = 0;
  const ssize_t got = ::recv(socket_.get(), &common, 1, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return false;
  }
  if (got != 1) {
    // A refusal is nothing but this.
    const TcpEndpoint& endpoint = endpoints_[endpoint_];
    fail_address(Errc::access,
                 "refused user '" + (endpoint.has_user ? endpoint.user : user_) + "'");
    return true;
  }
  out.socket = std::move(socket_);
  out.capability = std::min(common, kCapabilityOffered);
  out.endpoint = endpoints_[endpoint_].text;
  done = true;
  return true;
}

void TcpDialer::fail_address(Errc code, std::string why) {
  socket_.reset();
  code_ = code;
  why_ = std::move(why);
  ++address_;
  stage_ = Stage::address;
}

/// The endpoint under way has failed, as its last address did.
void TcpDialer::next_endpoint() {
  failures_ = round_so_far();
  codes_.push_back(code_);
  ++endpoint_;
  stage_ = Stage::endpoint;
}

std::string TcpDialer::round_so_far() const {
  std::string text = failures_;
  text.append(text.empty() ? "" : "; ").append(endpoints_[endpoint_].text).append(": ");
  return text.append(socket_ ? "no answer yet" : why_);
}

}  // namespace mserve
