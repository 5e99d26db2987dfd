// SPDX-License-Identifier: Apache-2.0
#include "stat/cluster_view.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cluster/json_fields.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "stat/text.hpp"

namespace mserve::stat {

namespace json = boost::json;
using cluster::array_at;
using cluster::count_at;
using cluster::flag_at;
using cluster::object_at;
using cluster::real_at;
using cluster::text_at;

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{8} << 20;
constexpr std::size_t kWordBytesMax = 1024;
/// It is written every two seconds.
constexpr std::int64_t kOldNs = 10'000'000'000;

std::string word(const json::object& in, const char* key) {
  return cluster::shown(text_at(in, key, kWordBytesMax).value_or(""), kWordBytesMax);
}
std::int64_t number(const json::object& in, const char* key) {
  return count_at(in, key).value_or(0);
}

/// `7`; `6, refused 7`; `none`; empty: its mserve-cluster knows no documents.
std::string standing_of(const json::object& broker) {
  const json::object* const document = object_at(broker, "document");
  if (document == nullptr) {
    return "";
  }
  const std::int64_t version = number(*document, "version");
  const std::int64_t refused = number(*document, "refused");
  return (version != 0 ? std::to_string(version) : "none") +
         (refused != 0 ? ", refused " + std::to_string(refused) : "");
}

/// Columns of the table, filled row by row.
struct Columns {
  std::vector<std::string> id, state, zone, region, address, version, document, link, changed;
  std::vector<std::int64_t> tier, queued, queue_age_ms, free, busy, pid;
  std::vector<double> load;

  void add(const json::object& peer) {
    id.push_back(word(peer, "id"));
    state.push_back(word(peer, "state"));
    tier.push_back(number(peer, "tier"));
    zone.push_back(word(peer, "zone"));
    region.push_back(word(peer, "region"));
    address.push_back(word(peer, "address"));
    load.push_back(real_at(peer, "load").value_or(0));
    queued.push_back(number(peer, "queued"));
    queue_age_ms.push_back(number(peer, "queue_age_ms"));
    free.push_back(0);
    busy.push_back(0);
    if (const json::array* const groups = array_at(peer, "servants")) {
      for (const json::value& group : *groups) {
        if (const json::object* const one = group.if_object()) {
          free.back() += std::min<std::int64_t>(number(*one, "free"), INT32_MAX);
          busy.back() += std::min<std::int64_t>(number(*one, "busy"), INT32_MAX);
        }
      }
    }
    version.push_back(word(peer, "version"));
    document.push_back(standing_of(peer));
    const json::object* const own_link = object_at(peer, "link");
    link.push_back(own_link != nullptr ? word(*own_link, "state") : "");
    pid.push_back(own_link != nullptr ? number(*own_link, "pid") : 0);
    changed.push_back(date_text(number(peer, "changed_at")));
  }

  [[nodiscard]] kdb::Value table() && {
    using kdb::Value;
    return Value::table(
        {"id", "state", "tier", "link", "pid", "zone", "region", "address", "load", "queued",
         "queue_age_ms", "free", "busy", "version", "document", "changed"},
        {Value::symbols(std::move(id)), Value::symbols(std::move(state)),
         Value::longs(std::move(tier)), Value::symbols(std::move(link)),
         Value::longs(std::move(pid)), Value::symbols(std::move(zone)),
         Value::symbols(std::move(region)), Value::symbols(std::move(address)),
         Value::floats(std::move(load)), Value::longs(std::move(queued)),
         Value::longs(std::move(queue_age_ms)), Value::longs(std::move(free)),
         Value::longs(std::move(busy)), Value::symbols(std::move(version)),
         Value::symbols(std::move(document)), Value::symbols(std::move(changed))});
  }
};

std::string ago(std::int64_t now, std::int64_t then) {
  return time_text(static_cast<double>(std::max<std::int64_t>(now - then, 0)));
}

std::string own_line(const json::object& root, const json::object& own) {
  std::string line = "cluster " + word(root, "cluster") + ": this is " + word(own, "id") + " at " +
                     word(own, "address");
  for (const char* const key : {"zone", "region"}) {
    if (const std::string value = word(own, key); !value.empty()) {
      line += std::string(", ") + key + " " + value;
    }
  }
  if (flag_at(own, "published")) {
    return line + ", " + word(own, "state");
  }
  const std::string by = word(own, "contested_by");
  return line + ", not shown to others: " +
         (by.empty() ? "its broker is not there" : "another broker has its --cluster-id");
}

std::string etcd_line(const json::object& etcd, std::int64_t now) {
  const std::string at = "etcd " + word(etcd, "endpoint");
  if (flag_at(etcd, "reached")) {
    return at + ": reached, revision " + std::to_string(number(etcd, "revision")) + ", lease " +
           std::to_string(number(etcd, "lease_ttl_s")) + " s";
  }
  return at + ": not reached for " + ago(now, number(etcd, "stale_since")) + ": " +
         word(etcd, "fault");
}

/// Which document the cluster has, and how this broker stands to it; empty: an older
/// mserve-cluster.
std::string document_line(const json::object& root, const json::object& own) {
  const json::object* const wanted = object_at(root, "document");
  const json::object* const standing = object_at(own, "document");
  if (wanted == nullptr) {
    return "";
  }
  std::string line =
      flag_at(*wanted, "known") ? "document: none in etcd" : "document: etcd has not said yet";
  if (const std::int64_t version = number(*wanted, "version"); version != 0) {
    const std::string note = word(*wanted, "note");
    line = "document: version " + std::to_string(version) + " by " + word(*wanted, "by") + " at " +
           date_text(number(*wanted, "at")) + (note.empty() ? "" : " (" + note + ")");
  }
  if (const std::string broken = word(*wanted, "fault"); !broken.empty()) {
    line += "; what etcd has now cannot be read: " + broken;
  }
  if (standing == nullptr) {
    return line;
  }
  const std::int64_t held = number(*standing, "version");
  const bool lost = flag_at(*wanted, "known") && number(*wanted, "version") == 0;
  const std::int64_t refused = number(*standing, "refused");
  if (refused != 0) {
    line += "; this broker refused " + std::to_string(refused) + " and has " +
            (held != 0 ? "version " + std::to_string(held) : "none") + ": " +
            word(*standing, "fault");
  } else if (held != number(*wanted, "version")) {
    line += held != 0 ? "; this broker has version " + std::to_string(held)
                      : "; this broker has none yet";
    line += lost ? ": apply what mserve-stat ctl cluster show gives, or an empty one" : "";
  }
  return line;
}

/// All of a file; nothing, with errno, when it cannot be read.
bool read_all(const std::string& path, std::string& text) {
  const shm::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) {
    return false;
  }
  if (!S_ISREG(status.st_mode) || status.st_size > static_cast<off_t>(kFileBytesMax)) {
    errno = EFBIG;
    return false;
  }
  text.resize(static_cast<std::size_t>(status.st_size));
  const ssize_t got = read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return got >= 0;
}

}  // namespace

Result<ClusterView> view_cluster(const std::string& text, std::int64_t now, std::string& reason) {
  json::value root;
  const bool read = cluster::parse_object(text, kFileBytesMax, root);
  const json::object* const all = read ? &root.get_object() : nullptr;
  const json::object* const own = all != nullptr ? object_at(*all, "own") : nullptr;
  const json::object* const etcd = all != nullptr ? object_at(*all, "etcd") : nullptr;
  const json::array* const peers = all != nullptr ? array_at(*all, "peers") : nullptr;
  if (own == nullptr || etcd == nullptr || peers == nullptr || count_at(*all, "format") != 1) {
    reason = "the state file is none that this version understands; use that of mserve-cluster";
    return Error{Errc::protocol, 0, "cluster state"};
  }
  ClusterView view{.json = json::serialize(root)};
  view.lines = {own_line(*all, *own), etcd_line(*etcd, now)};
  if (std::string line = document_line(*all, *own); !line.empty()) {
    view.lines.push_back(std::move(line));
  }
  Columns columns;
  for (const json::value& peer : *peers) {
    if (const json::object* const one = peer.if_object()) {
      columns.add(*one);
    }
  }
  view.peers = std::move(columns).table();
  if (const std::int64_t at = number(*all, "written_at"); now - at > kOldNs) {
    view.warning = "mserve-cluster (pid " + std::to_string(number(*all, "pid")) +
                   ") has told nothing for " + ago(now, at) +
                   ": it hangs or was killed, and this is old; its log is that of the broker";
  } else if (!flag_at(*etcd, "reached")) {
    view.warning = "etcd is not reached, so this may be stale; brokers and links go on as they are";
  } else if (const std::string by = word(*own, "contested_by"); !by.empty()) {
    view.warning = "another broker (" + by + ") has the --cluster-id of this one: give one of " +
                   "them another; nobody has a link to this one until then";
  }
  return view;
}

Result<ClusterView> read_cluster(const BrokerName& broker, std::int64_t now, std::string& reason) {
  if (!shm::valid_broker_name(broker.name)) {
    reason = "'" + broker.name + "' is no name of a broker";
    return Error{Errc::invalid, 0, "cluster state"};
  }
  const std::string directory =
      broker.directory.empty() ? shm::default_directory() : broker.directory;
  const Error safe = shm::check_directory(directory, shm::DirectoryOwner::anybody, true, &reason);
  if (safe.code != Errc::ok && safe.code != Errc::no_broker) {
    return safe;
  }
  const std::string path = directory + "/" + broker.name + ".cluster.json";
  std::string text;
  if (!read_all(path, text)) {
    const int fault = errno;
    if (fault == ENOENT) {
      reason = "broker '" + broker.name + "' is in no cluster: there is no " + path +
               "; start it with --cluster URL, or mserve-cluster beside it";
      return Error{Errc::no_broker, 0, "cluster state"};
    }
    reason = path + ": " + std::strerror(fault);
    return Error{fault == EACCES ? Errc::access : Errc::os, fault, "cluster state"};
  }
  return view_cluster(text, now, reason);
}

}  // namespace mserve::stat
