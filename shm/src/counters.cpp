// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/counters.hpp"

#include <unistd.h>

#include <cstring>
#include <deque>

#include "mserve/shm/directory.hpp"
#include "named_object.hpp"

namespace mserve::shm {
namespace {

constexpr std::uint64_t kReady =
    (std::uint64_t{kCountersMagic} << 32) | (std::uint64_t{kCountersMajor} << 16) | kCountersMinor;

bool counter_name_ok(std::string_view name) noexcept {
  if (name.empty() || name.size() >= sizeof(CounterSlot::name)) {
    return false;
  }
  for (const char c : name) {
    if (c <= ' ' || c > '~') {
      return false;
    }
  }
  return true;
}

CountersHeader* header_of(std::byte* data) noexcept {
  return reinterpret_cast<CountersHeader*>(data);
}

CounterSlot* slots_of(std::byte* data) noexcept {
  return reinterpret_cast<CounterSlot*>(data + sizeof(CountersHeader));
}

}  // namespace

struct CountersWriter::Parts {
  explicit Parts(NamedObject o) : object(std::move(o)) {}

  NamedObject object;
  std::uint32_t used = 0;  // ours; the one in the segment is for readers
  std::deque<Counter> not_shown;
};

CountersWriter::CountersWriter(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
CountersWriter::CountersWriter(CountersWriter&&) noexcept = default;
CountersWriter& CountersWriter::operator=(CountersWriter&&) noexcept = default;
CountersWriter::~CountersWriter() = default;

Result<CountersWriter> CountersWriter::create(const CountersOptions& options) {
  if (!valid_broker_name(options.broker)) {
    return Error{Errc::invalid, 0, "create counters: name"};
  }
  auto object = NamedObject::create({.base = counters_name(options.broker, ::geteuid()),
                                     .bytes = kCountersBytes,
                                     .group = options.group,
                                     .suffix_max = kCountersSuffixMax,
                                     .where = "create counters"});
  if (!object) {
    return object.error();
  }
  CountersHeader* const header = header_of(object.value().data());
  header->broker_epoch = options.broker_epoch;
  header->pid = ::getpid();
  header->slots = kCounterSlots;
  header->ready.store(kReady, std::memory_order_release);  // C1
  return CountersWriter(std::make_unique<Parts>(std::move(object).value()));
}

Counter& CountersWriter::add(std::string_view name) {
  if (parts_->used == kCounterSlots || !counter_name_ok(name)) {
    return parts_->not_shown.emplace_back();
  }
  CounterSlot& slot = slots_of(parts_->object.data())[parts_->used];
  std::memcpy(slot.name, name.data(), name.size());  // a fresh slot is zero behind it
  ++parts_->used;
  header_of(parts_->object.data())->used.store(parts_->used, std::memory_order_release);  // C2
  return slot.value;
}

std::size_t CountersWriter::refused() const noexcept {
  return parts_->not_shown.size();
}
const std::string& CountersWriter::name() const noexcept {
  return parts_->object.name();
}
void CountersWriter::tell_monitor(std::uint32_t suffix) noexcept {
  header_of(parts_->object.data())->monitor.store(suffix + 1, std::memory_order_release);  // C3
}

struct CountersReader::Parts {
  Mapping mapping;
  std::uint64_t broker_epoch = 0;
  pid_t pid = 0;
};

CountersReader::CountersReader(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
CountersReader::CountersReader(CountersReader&&) noexcept = default;
CountersReader& CountersReader::operator=(CountersReader&&) noexcept = default;
CountersReader::~CountersReader() = default;

Result<CountersReader> CountersReader::open(const std::string& name, uid_t owner) {
  Result<Mapping> mapping = open_named(name, owner, kCountersBytes, kCountersBytes);
  if (!mapping) {
    return mapping.error();
  }
  const CountersHeader* const header = header_of(mapping.value().data());
  const std::uint64_t ready = header->ready.load(std::memory_order_acquire);  // C1
  if (ready == 0) {
    return Error{Errc::empty, 0, "open counters: being filled"};
  }
  if (ready >> 32 != kCountersMagic) {
    return Error{Errc::bad_segment, 0, "open counters: magic"};
  }
  if (((ready >> 16) & 0xffff) != kCountersMajor) {
    return Error{Errc::version_mismatch, 0, "open counters: version"};
  }
  auto parts = std::make_unique<Parts>();
  parts->broker_epoch = header->broker_epoch;
  parts->pid = header->pid;
  if (header->slots != kCounterSlots) {
    return Error{Errc::bad_segment, 0, "open counters: slots"};
  }
  parts->mapping = std::move(mapping).value();
  return CountersReader(std::move(parts));
}

std::vector<CountersReader::Value> CountersReader::snapshot() const {
  const CountersHeader* const header = header_of(parts_->mapping.data());
  std::uint32_t used = header->used.load(std::memory_order_acquire);  // C2
  used = used < kCounterSlots ? used : kCounterSlots;
  std::vector<Value> values;
  values.reserve(used);
  for (std::uint32_t i = 0; i < used; ++i) {
    const CounterSlot& slot = slots_of(parts_->mapping.data())[i];
    char text[sizeof(slot.name)];
    std::memcpy(text, slot.name, sizeof(text));
    const std::string_view copied(text, ::strnlen(text, sizeof(text)));
    if (counter_name_ok(copied)) {
      values.push_back({std::string(copied), slot.value.get()});
    }
  }
  return values;
}

std::uint64_t CountersReader::broker_epoch() const noexcept {
  return parts_->broker_epoch;
}
pid_t CountersReader::pid() const noexcept {
  return parts_->pid;
}
std::optional<std::uint32_t> CountersReader::monitor_suffix() const noexcept {
  const std::uint32_t told =
      header_of(parts_->mapping.data())->monitor.load(std::memory_order_acquire);  // C3
  return told != 0 ? std::optional(told - 1) : std::nullopt;
}

std::string counters_name(std::string_view broker, uid_t uid) {
  return "mserve-" + std::string(broker) + "-" + std::to_string(uid);
}

}  // namespace mserve::shm
