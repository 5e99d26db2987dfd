// SPDX-License-Identifier: Apache-2.0
#include "cluster/state_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "cluster/replace_file.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::int64_t kStateFormat = 1;

json::array servants_of(const BrokerRecord& record) {
  json::array all;
  for (const ServantGroup& group : record.servants) {
    all.push_back(json::object{{"tags", group.tags}, {"free", group.free}, {"busy", group.busy}});
  }
  return all;
}

json::object broker_of(const BrokerRecord& record) {
  json::object all{{"id", record.id},
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
  if (record.document) {
    all["document"] = standing_json(*record.document);
  }
  return all;
}

/// What etcd says it is; version 0: there is none, or nobody has said yet.
json::object document_of(const DocumentWatch& watch) {
  const Document& now = watch.document();
  return {{"known", watch.known()}, {"version", now.version}, {"by", now.by},
          {"at", now.at},           {"note", now.note},       {"fault", watch.fault()}};
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
          {"skipped", parts.etcd.skipped},
          {"left_out", parts.etcd.left_out}};
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
  return json::serialize(json::object{{"format", kStateFormat},
                                      {"written_at", parts.written_at},
                                      {"pid", getpid()},
                                      {"cluster", parts.options.name},
                                      {"broker", parts.broker},
                                      {"own", std::move(own)},
                                      {"etcd", etcd_of(parts)},
                                      {"document", document_of(parts.document)},
                                      {"peers", std::move(peers)}}) +
         "\n";
}

std::string state_path(const std::string& directory, const std::string& broker) {
  return directory + "/" + broker + ".cluster.json";
}

int write_state(const std::string& directory, const std::string& broker, const std::string& text) {
  struct stat socket {};
  const bool shared = ::stat((directory + "/" + broker + ".sock").c_str(), &socket) == 0 &&
                      (socket.st_mode & S_IRWXG) != 0;
  return replace_file(state_path(directory, broker), text,
                      shared ? std::optional(socket.st_gid) : std::nullopt);
}

}  // namespace mserve::cluster
