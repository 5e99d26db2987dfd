// SPDX-License-Identifier: Apache-2.0
#include "stat/counters_call.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::stat {

Result<CountersPlace> find_counters(const BrokerName& broker, std::uint64_t timeout_ns,
                                    std::string& reason) {
  shm::AttachOptions options;
  options.broker = broker.name;
  options.directory = broker.directory;
  options.role = shm::Role::observer;
  options.timeout_ns = timeout_ns;
  const auto observer = shm::Attachment::open(options, &reason);
  if (!observer) {
    const std::string directory =
        broker.directory.empty() ? shm::default_directory() : broker.directory;
    if (observer.error().code == Errc::access && access(directory.c_str(), X_OK) != 0) {
      reason = "this user may not enter " + directory;
    }
    return observer.error();
  }
  const auto owner = shm::peer_credentials(observer.value().fd());
  if (!owner) {
    reason = "the broker's user cannot be seen from here";
    return owner.error();
  }
  return CountersPlace{observer.value().info().counters_name, owner.value().uid};
}

Result<Counters> read_counters(const BrokerName& broker, std::string& reason) {
  const auto place = find_counters(broker, kPatienceNs, reason);
  if (!place) {
    return place.error();
  }
  const auto reader = shm::CountersReader::open(place.value().name, place.value().owner);
  if (!reader) {
    reason = "the broker's counters cannot be read";
    return reader.error();
  }
  return reader.value().snapshot();
}

unsigned long long value_of(const Counters& counters, std::string_view name) noexcept {
  const auto found = std::find_if(counters.begin(), counters.end(),
                                  [name](const auto& counter) { return counter.name == name; });
  return found != counters.end() ? found->value : 0;
}

kdb::Value counters_table(const Counters& counters) {
  std::vector<std::string> names;
  std::vector<std::int64_t> values;
  for (const auto& counter : counters) {
    names.push_back(counter.name);
    values.push_back(static_cast<std::int64_t>(std::min<std::uint64_t>(counter.value, INT64_MAX)));
  }
  return kdb::Value::table({"counter", "value"}, {kdb::Value::symbols(std::move(names)),
                                                  kdb::Value::longs(std::move(values))});
}

}  // namespace mserve::stat
