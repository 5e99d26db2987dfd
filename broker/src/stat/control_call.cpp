// SPDX-License-Identifier: Apache-2.0
#include "stat/control_call.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::stat {

namespace {

/// All of a table's memory. A broker of ours sealed it; whatever it is, it is read once, by copy.
bool read_table(int fd, std::uint64_t size, std::vector<std::byte>& bytes) {
  struct stat found {};
  if (fstat(fd, &found) != 0 || static_cast<std::uint64_t>(found.st_size) != size) {
    return false;
  }
  bytes.resize(static_cast<std::size_t>(size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0 || errno != EINTR) {
      return false;  // it is shorter than it was, or cannot be read
    }
  }
  return true;
}

/// The reply in a datagram; or why the broker did not take the request at all.
Result<shm::ControlReply> reply_in(std::span<const std::byte> bytes, std::string& reason) {
  if (const auto refusal = shm::parse_welcome(bytes, shm::Role::observer)) {
    const Errc status = refusal.value().status;
    reason = status == Errc::access ? "only the broker's own user and root may"
                                    : std::string(shm::text_of(refusal.value().reason));
    if (status == Errc::protocol) {
      reason = "that broker (" + std::string(shm::text_of(refusal.value().broker_version)) +
               ") is too old for mserve-stat; upgrade and restart it";
      return Error{Errc::version_mismatch, 0, "control"};
    }
    return Error{status == Errc::ok ? Errc::protocol : status, 0, "control"};
  }
  auto reply = shm::parse_control_reply(bytes);
  if (!reply) {
    reason = "the broker's answer does not follow the protocol";
  }
  return reply;
}

Result<ControlAnswer> answer_of(const shm::ControlReply& reply,
                                const shm::ReceivedMessage& received, std::string& reason) {
  ControlAnswer answer{reply.status, reply.count, std::string(shm::text_of(reply.text)), {}};
  if (reply.table_bytes == 0) {
    return answer;
  }
  std::vector<std::byte> bytes;
  if (received.fd_count == 1 && read_table(received.fds[0].get(), reply.table_bytes, bytes)) {
    if (auto table = kdb::decode(bytes)) {
      answer.table = std::move(*table);
      return answer;
    }
  }
  reason = "the broker's table cannot be read";
  return Error{Errc::protocol, 0, "control"};
}

/// What may go to a terminal.
std::string printable(std::string_view text) {
  std::string shown(text);
  for (char& c : shown) {
    c = c >= ' ' && c <= '~' ? c : '?';
  }
  return shown;
}

}  // namespace

Result<shm::UniqueFd> send_control(const BrokerName& broker, const shm::Control& request,
                                   std::string& reason, std::uint64_t deadline_ns) {
  auto socket = shm::connect_to_broker(broker.name, broker.directory, deadline_ns, &reason);
  if (!socket) {
    return socket.error();
  }
  // A broker that does not take this user says so and hangs up before it reads anything.
  const Error sent =
      shm::send_message(socket.value().get(), shm::wire_bytes(request), {}, deadline_ns);
  if (sent.code != Errc::ok && sent.code != Errc::disconnected) {
    return sent;
  }
  return socket;
}

Result<ControlAnswer> receive_control(int fd, std::string& reason, std::uint64_t deadline_ns) {
  std::array<std::byte, shm::kWireBytesMax> buffer;
  auto received = shm::receive_message(fd, buffer, 1, deadline_ns);
  if (!received) {
    reason = received.error().code == Errc::timed_out
                 ? shm::silence_text(fd)
                 : "the broker went away, or takes no requests";
    return received.error();
  }
  auto reply = reply_in(std::span(buffer).first(received.value().bytes), reason);
  return reply ? answer_of(reply.value(), received.value(), reason)
               : Result<ControlAnswer>(reply.error());
}

Result<ControlAnswer> call_control(const BrokerName& broker, const shm::Control& request,
                                   std::string& reason, std::uint64_t patience_ns) {
  const std::uint64_t deadline_ns = shm::add_capped(shm::steady_now(), patience_ns);
  const auto socket = send_control(broker, request, reason, deadline_ns);
  return socket ? receive_control(socket.value().get(), reason, deadline_ns)
                : Result<ControlAnswer>(socket.error());
}

std::vector<ReloadRow> reload_rows(const ControlAnswer& answer) {
  std::vector<ReloadRow> rows;
  for (std::size_t i = 0; answer.table && i < answer.table->count(); ++i) {
    const kdb::Value row = answer.table->at(i);
    const auto text_in = [&row](std::string_view column) {
      const auto value = row.find(column);
      return value ? printable(value->text_view().value_or("")) : std::string();
    };
    rows.push_back({text_in("key"), text_in("value"), text_in("fault")});
  }
  return rows;
}

std::vector<std::string> reload_faults(const ControlAnswer& answer) {
  std::vector<std::string> faults;
  if (answer.status == Errc::ok) {
    return faults;
  }
  for (const auto& [key, value, fault] : reload_rows(answer)) {
    if (!fault.empty()) {
      faults.push_back(key.empty() ? fault : key + ": " + fault);
    }
  }
  if (faults.empty()) {
    faults.push_back(answer.text.empty() ? to_string(answer.status) : answer.text);
  }
  return faults;
}

}  // namespace mserve::stat
