// SPDX-License-Identifier: Apache-2.0
#include "broker_counters.hpp"

#include <unistd.h>

#include <string>

#include "ends.hpp"

namespace mserve::bench {
namespace {

shm::CountersReader open_counters(const TripOptions& broker) {
  shm::AttachOptions options;
  options.broker = broker.broker;
  options.directory = broker.directory;
  options.role = shm::Role::observer;
  std::string reason;
  const auto attachment = shm::Attachment::open(options, &reason);
  if (!attachment) {
    fail_to_attach(attachment.error().code,
                   "cannot attach to broker '" + broker.broker + "' to look at it: " + reason);
  }
  auto reader = shm::CountersReader::open(attachment.value().info().counters_name, geteuid());
  if (!reader) {
    fail(std::string("the broker's counters cannot be read: ") + advice(reader.error().code));
  }
  return std::move(reader).value();
}

}  // namespace

BrokerCounters::BrokerCounters(const TripOptions& broker) : reader_(open_counters(broker)) {}

std::uint64_t BrokerCounters::value(std::string_view name) const {
  for (const auto& counter : reader_.snapshot()) {
    if (counter.name == name) {
      return counter.value;
    }
  }
  fail("the broker has no counter '" + std::string(name) + "'");
}

}  // namespace mserve::bench
