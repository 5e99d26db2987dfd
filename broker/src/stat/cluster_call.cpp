// SPDX-License-Identifier: Apache-2.0
#include "stat/cluster_call.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cluster/json_fields.hpp"
#include "cluster/shared_document.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::stat {

namespace json = boost::json;
using cluster::array_at;
using cluster::count_at;
using cluster::object_at;
using cluster::text_at;

namespace {

constexpr std::size_t kAnswerBytesMax = std::size_t{4} << 20;
constexpr std::size_t kFaultWordBytesMax = 2048;
/// etcd is asked up to three times, three seconds each.
constexpr std::uint64_t kBesidesNs = 15'000'000'000;

std::string answer_word(const json::object& in, const char* key) {
  return cluster::shown(text_at(in, key, kFaultWordBytesMax).value_or(""), kFaultWordBytesMax);
}

DocumentHead head_in(const json::object& in) {
  return {.version = count_at(in, "version").value_or(0),
          .at = count_at(in, "at").value_or(0),
          .by = answer_word(in, "by"),
          .note = answer_word(in, "note"),
          .bytes = count_at(in, "bytes").value_or(0)};
}

/// Calls `take` with each object of an array, if there is one.
template <class Take>
void each_in(const json::object& in, const char* key, Take take) {
  if (const json::array* const all = array_at(in, key)) {
    for (const json::value& one : *all) {
      if (const json::object* const found = one.if_object()) {
        take(*found);
      }
    }
  }
}

Result<shm::UniqueFd> connect_to(const BrokerName& broker, std::string& reason) {
  if (!shm::valid_broker_name(broker.name)) {
    reason = "'" + broker.name + "' is no name of a broker";
    return Error{Errc::invalid, 0, "cluster"};
  }
  const bool by_rule = broker.directory.empty();
  const std::string directory = by_rule ? shm::default_directory() : broker.directory;
  const auto owner = by_rule ? shm::DirectoryOwner::self_or_root : shm::DirectoryOwner::anybody;
  const Error safe = shm::check_directory(directory, owner, /*group_allowed=*/true, &reason);
  if (safe.code != Errc::ok && safe.code != Errc::no_broker) {
    return safe;
  }
  const std::string path = directory + "/" + broker.name + ".cluster.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    reason = path + " is too long for a socket: choose a shorter --dir or --name";
    return Error{Errc::invalid, 0, "cluster"};
  }
  path.copy(address.sun_path, path.size());
  shm::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) {
    return Error{Errc::os, errno, "cluster"};
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return fd;
  }
  const int fault = errno;
  if (fault == EACCES || fault == EPERM) {
    reason = "only the broker's own user and root may connect to " + path;
    return Error{Errc::access, fault, "cluster"};
  }
  reason = fault == ENOENT ? "broker '" + broker.name + "' is in no cluster: there is no " + path +
                                 "; start it with --cluster URL, or ask another one"
                           : "no mserve-cluster listens at " + path + ": " + std::strerror(fault) +
                                 "; its log is that of the broker";
  return Error{Errc::no_broker, fault, "cluster"};
}

void set_patience(int fd, std::uint64_t ns) {
  constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
  const timeval patience{.tv_sec = static_cast<time_t>(ns / kNsPerSecond + 1), .tv_usec = 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

/// As much as the other side takes: one that refuses hangs up, and says why all the same.
void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EINTR) {
      return;
    }
  }
}

/// Up to the end of a line. @return 0, or errno; ENODATA: it broke off, EMSGSIZE: it is too long.
int receive_line(int fd, std::string& line) {
  char buffer[16384];
  while (!line.ends_with('\n')) {
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return got < 0 ? errno : ENODATA;
    }
    line.append(buffer, static_cast<std::size_t>(got));
    if (line.size() > kAnswerBytesMax) {
      return EMSGSIZE;
    }
  }
  line.pop_back();
  return 0;
}

}  // namespace

std::string order_line(const DocumentOrder& order) {
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  const bool applies = order.verb == "apply";
  json::object all{{"format", 1}, {"verb", order.verb}};
  if (applies) {
    all["text"] = order.text;
  }
  if (applies || order.verb == "rollback") {
    all["note"] = order.note;
    all["wait_ms"] =
        static_cast<std::int64_t>(std::min<std::uint64_t>(order.wait_ns / kNsPerMs, 3'600'000));
  }
  if (order.version) {
    all[applies ? "base" : "version"] = *order.version;
  }
  return json::serialize(all) + "\n";
}

std::optional<DocumentAnswer> read_document_answer(std::string_view line) {
  json::value root;
  if (!cluster::parse_object(line, kAnswerBytesMax, root)) {
    return std::nullopt;
  }
  const json::object& in = root.get_object();
  DocumentAnswer answer{.status = answer_word(in, "status"), .text = answer_word(in, "text")};
  if (count_at(in, "format") != 1 || answer.status.empty()) {
    return std::nullopt;
  }
  if (const json::object* const document = object_at(in, "document")) {
    answer.document = head_in(*document);
    answer.document_text = text_at(*document, "text", cluster::kDocumentBytesMax).value_or("");
  }
  each_in(in, "documents",
          [&](const json::object& one) { answer.history.push_back(head_in(one)); });
  each_in(in, "brokers", [&](const json::object& one) {
    answer.brokers.push_back(
        {answer_word(one, "id"), answer_word(one, "state"), answer_word(one, "fault")});
  });
  if (const json::array* const faults = array_at(in, "faults")) {
    for (const json::value& fault : *faults) {
      if (const json::string* const text = fault.if_string()) {
        answer.faults.push_back(cluster::shown(*text, kFaultWordBytesMax));
      }
    }
  }
  answer.json = json::serialize(root);
  return answer;
}

Result<DocumentAnswer> call_cluster(const BrokerName& broker, const DocumentOrder& order,
                                    std::string& reason) {
  const auto socket = connect_to(broker, reason);
  if (!socket) {
    return socket.error();
  }
  const int fd = socket.value().get();
  set_patience(fd, std::min(order.wait_ns, cluster::kWaitNsMax) + kBesidesNs);
  send_all(fd, order_line(order));
  std::string line;
  if (const int fault = receive_line(fd, line); fault != 0) {
    const bool late = fault == EAGAIN || fault == EWOULDBLOCK;
    reason = std::string("mserve-cluster ") +
             (late ? "does not answer" : "hung up before it answered") +
             (order.verb == "apply" || order.verb == "rollback"
                  ? "; whether it was written nobody knows: look with show"
                  : "");
    return Error{late ? Errc::timed_out : Errc::disconnected, fault, "cluster"};
  }
  auto answer = read_document_answer(line);
  if (!answer) {
    reason = "mserve-cluster's answer is none that this version understands";
    return Error{Errc::protocol, 0, "cluster"};
  }
  return std::move(*answer);
}

std::optional<std::string> read_document_file(const std::string& path, std::string& fault) {
  const bool standard = path == "-";
  const shm::UniqueFd opened(standard ? -1 : open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!standard && !opened) {
    fault = path + ": " + std::strerror(errno);
    return std::nullopt;
  }
  const int fd = standard ? STDIN_FILENO : opened.get();
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      fault = path + ": " + std::strerror(errno);
      return std::nullopt;
    }
    if (got == 0) {
      return text;
    }
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > cluster::kDocumentBytesMax) {
      fault = path + ": a document has at most 256 KiB";
      return std::nullopt;
    }
  }
}

}  // namespace mserve::stat
