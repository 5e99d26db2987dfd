// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "mserve/shm/monitor_layout.hpp"
#include "named_object.hpp"

namespace mserve::shm {
namespace {

// Only a stranger who squats the names makes a suffix necessary: the broker's counters are its own.
constexpr int kMonitorSuffixMax = 3;

std::string base_of(std::string_view counters_name) {
  return std::string(counters_name) + "-monitor";
}

/// What a killed broker left whose counters had another suffix.
void remove_others(const std::string& counters_name) {
  const std::size_t dot = counters_name.rfind('.');
  const std::string plain = dot != std::string::npos && dot > counters_name.rfind('-')
                                ? counters_name.substr(0, dot)
                                : counters_name;
  for (int i = 0; i <= kCountersSuffixMax; ++i) {
    for (int suffix = 0; suffix <= kMonitorSuffixMax; ++suffix) {
      remove_if_stale(suffixed(base_of(suffixed(plain, i)), suffix));
    }
  }
}

}  // namespace

struct MonitorSegment::Parts {
  NamedObject object;
  MonitorShape shape;

  template <class Part>
  [[nodiscard]] Part* at(std::uint64_t offset) const noexcept {
    return reinterpret_cast<Part*>(object.data() + offset);
  }
};

MonitorSegment::MonitorSegment(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
MonitorSegment::MonitorSegment(MonitorSegment&&) noexcept = default;
MonitorSegment& MonitorSegment::operator=(MonitorSegment&&) noexcept = default;
MonitorSegment::~MonitorSegment() = default;

Result<MonitorSegment> MonitorSegment::create(const MonitorOptions& options) {
  MonitorShape shape;
  shape.sessions = std::clamp<std::uint32_t>(options.sessions, 1, kMonitorSessionsMax);
  shape.books = 1 + std::min(shape.sessions, kMonitorBooksMax - 1);
  remove_others(options.counters_name);
  auto object = NamedObject::create({.base = base_of(options.counters_name),
                                     .bytes = shape.bytes(),
                                     .suffix_max = kMonitorSuffixMax,
                                     .where = "create monitor"});
  if (!object) {
    return object.error();
  }
  auto* const header = reinterpret_cast<MonitorHeader*>(object.value().data());
  header->broker_epoch = options.broker_epoch;
  header->pid = ::getpid();
  header->sessions = shape.sessions;
  header->books = shape.books;
  header->route_sets = kMonitorRouteSets;
  header->events = kMonitorEvents;
  header->ready.store(
      std::uint64_t{kMonitorMagic} << 32 | std::uint64_t{kMonitorMajor} << 16 | kMonitorMinor,
      std::memory_order_release);  // M1
  return MonitorSegment(
      std::make_unique<Parts>(Parts{.object = std::move(object).value(), .shape = shape}));
}

std::uint32_t MonitorSegment::suffix() const noexcept {
  return static_cast<std::uint32_t>(parts_->object.suffix());
}
const std::string& MonitorSegment::name() const noexcept {
  return parts_->object.name();
}
MonitorBroker& MonitorSegment::broker() const noexcept {
  return *parts_->at<MonitorBroker>(MonitorShape::kBrokerAt);
}
std::span<MonitorRow> MonitorSegment::rows() const noexcept {
  return {parts_->at<MonitorRow>(MonitorShape::kRowsAt), parts_->shape.sessions};
}
std::span<MonitorBook> MonitorSegment::books() const noexcept {
  return {parts_->at<MonitorBook>(parts_->shape.books_at()), parts_->shape.books};
}
std::span<MonitorRouteSet, kMonitorRouteSets> MonitorSegment::routes() const noexcept {
  return std::span<MonitorRouteSet, kMonitorRouteSets>(
      parts_->at<MonitorRouteSet>(MonitorShape::kRoutesAt), kMonitorRouteSets);
}
std::span<MonitorNameSet, kMonitorRouteSets> MonitorSegment::names() const noexcept {
  return std::span<MonitorNameSet, kMonitorRouteSets>(
      parts_->at<MonitorNameSet>(MonitorShape::kNamesAt), kMonitorRouteSets);
}
std::span<MonitorEvent, kMonitorEvents> MonitorSegment::events() const noexcept {
  return std::span<MonitorEvent, kMonitorEvents>(parts_->at<MonitorEvent>(MonitorShape::kEventsAt),
                                                 kMonitorEvents);
}

std::string monitor_name(std::string_view counters_name, std::uint32_t suffix) {
  return suffixed(base_of(counters_name), static_cast<int>(suffix));
}

}  // namespace mserve::shm
