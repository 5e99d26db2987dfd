// SPDX-License-Identifier: Apache-2.0
#include "cluster/state_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::int64_t kFormat = 1;

json::array servants_of(const BrokerRecord& record) {
  json::array all;
  for (const ServantGroup& group : record.servants) {
    all.push_back(json::object{{"tags", group.tags}, {"free", group.free}, {"busy", group.busy}});
  }
  return all;
}

json::object broker_of(const BrokerRecord& record) {
  return {{"id", record.id},
          {"address", record.address},
          {"zone", record.zone},
          {"region", record.region},
          {"state", record.state()},
          {"version", record.version},
          {"epoch", std::to_string(record.epoch)},
          {"load", record.load},
          {"queued", record.queued},
          {"queue_age_ms", record.queue_age_ms},
          {"servants", servants_of(record)}};
}

json::object etcd_of(const StateParts& parts) {
  json::array endpoints;
  for (const std::string& url : parts.options.endpoints) {
    endpoints.push_back(json::string(url));
  }
  return {{"endpoints", std::move(endpoints)},
          {"endpoint", parts.etcd.endpoint},
          {"reached", parts.etcd.reached},
          {"revision", parts.etcd.revision},
          {"lease_ttl_s", parts.etcd.lease_ttl_s},
          {"stale_since", parts.etcd.stale_since},
          {"fault", parts.etcd.fault},
          {"relists", parts.etcd.relists},
          {"resumes", parts.etcd.resumes},
          {"silences", parts.etcd.silences},
          {"skipped", parts.etcd.skipped}};
}

}  // namespace

std::string state_json(const StateParts& parts) {
  json::array peers;
  for (const auto& [id, peer] : parts.table.peers()) {
    const LinkView link = parts.link(id);
    json::object one = broker_of(peer.record);
    one["tier"] = static_cast<std::int64_t>(peer.nearness);
    one["revision"] = peer.revision;
    one["changed_at"] = peer.changed_at;
    one["link"] = {{"state", link.state}, {"pid", link.pid}, {"ending", link.ending}};
    peers.push_back(std::move(one));
  }
  json::object own = broker_of(parts.own);
  own["published"] = parts.published && parts.etcd.contested_by.empty();
  own["contested_by"] = parts.etcd.contested_by;
  return json::serialize(json::object{{"format", kFormat},
                                      {"written_at", parts.written_at},
                                      {"pid", getpid()},
                                      {"cluster", parts.options.name},
                                      {"broker", parts.broker},
                                      {"own", std::move(own)},
                                      {"etcd", etcd_of(parts)},
                                      {"peers", std::move(peers)}}) +
         "\n";
}

std::string state_path(const std::string& directory, const std::string& broker) {
  return directory + "/" + broker + ".cluster.json";
}

int write_state(const std::string& directory, const std::string& broker, const std::string& text) {
  const std::string path = state_path(directory, broker);
  const std::string next = path + ".new";
  (void)unlink(next.c_str());  // left by one that was killed
  constexpr mode_t kOwner = S_IRUSR | S_IWUSR;
  shm::UniqueFd fd(
      open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kOwner));
  if (!fd) {
    return errno;
  }
  struct stat socket {};
  if (stat((directory + "/" + broker + ".sock").c_str(), &socket) == 0 &&
      (socket.st_mode & S_IRWXG) != 0 &&
      fchown(fd.get(), static_cast<uid_t>(-1), socket.st_gid) == 0) {
    (void)fchmod(fd.get(), kOwner | S_IRGRP);
  }
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(fd.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) {
      const int fault = errno;
      (void)unlink(next.c_str());
      return fault;
    }
    done += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
  }
  fd.reset();
  return std::rename(next.c_str(), path.c_str()) == 0 ? 0 : errno;
}

}  // namespace mserve::cluster
