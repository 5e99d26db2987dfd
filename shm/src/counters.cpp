// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/counters.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <new>
#include <optional>

#include "mserve/shm/directory.hpp"
#include "mserve/shm/segment.hpp"

namespace mserve::shm {
namespace {

namespace bip = boost::interprocess;

constexpr int kSuffixMax = 15;
constexpr std::uint64_t kReady =
    (std::uint64_t{kCountersMagic} << 32) | (std::uint64_t{kCountersMajor} << 16) | kCountersMinor;

// Where Linux shows the objects; asking for the owner there opens nothing.
std::string file_of(const std::string& name) {
  return "/dev/shm/" + name;
}

std::string candidate(const std::string& base, int suffix) {
  return suffix == 0 ? base : base + "." + std::to_string(suffix);
}

bool same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// True when `name` still names the object behind `fd`.
bool still_named(int fd, const std::string& name) noexcept {
  struct stat opened = {};
  struct stat named = {};
  return ::fstat(fd, &opened) == 0 && ::lstat(file_of(name).c_str(), &named) == 0 &&
         same_file(opened, named);
}

Error error_of(const bip::interprocess_exception& e, const char* where) noexcept {
  const int native = static_cast<int>(e.get_native_error());
  switch (native) {
    case EEXIST:
      return {Errc::in_use, native, where};
    case ENOENT:
      return {Errc::no_broker, native, where};
    case EACCES:
    case EPERM:
      return {Errc::access, native, where};
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
      return {Errc::no_memory, native, where};
    default:
      return {Errc::os, native, where};
  }
}

Result<bip::shared_memory_object> create_object(const std::string& name) {
  try {
    return bip::shared_memory_object(bip::create_only, name.c_str(), bip::read_write,
                                     bip::permissions(0600));
  } catch (const bip::interprocess_exception& e) {
    return error_of(e, "create counters");
  }
}

Result<bip::shared_memory_object> open_object(const std::string& name) {
  try {
    return bip::shared_memory_object(bip::open_only, name.c_str(), bip::read_only);
  } catch (const bip::interprocess_exception& e) {
    return error_of(e, "open counters");
  }
}

int fd_of(const bip::shared_memory_object& object) noexcept {
  return bip::ipcdetail::file_handle_from_mapping_handle(object.get_mapping_handle());
}

/// Removes the object if it is ours and no writer holds its lock; leaves everything else alone.
void remove_if_stale(const std::string& name) {
  struct stat status = {};
  if (::lstat(file_of(name).c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid()) {
    return;
  }
  const Result<bip::shared_memory_object> object = open_object(name);
  if (!object) {
    return;
  }
  const int fd = fd_of(object.value());
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && still_named(fd, name)) {
    bip::shared_memory_object::remove(name.c_str());
  }
}

/// Sizes a fresh object and takes it for this writer. Space is reserved now, because a full
/// /dev/shm would otherwise be a SIGBUS at the first store.
Error claim_object(int fd, const CountersOptions& options) noexcept {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return os_error("lock counters", Errc::in_use);
  }
  const int rc = ::posix_fallocate(fd, 0, static_cast<off_t>(kCountersBytes));
  if (rc != 0) {
    return {rc == ENOSPC ? Errc::no_memory : Errc::os, rc, "size counters"};
  }
  if (options.group.has_value() &&
      (::fchown(fd, static_cast<uid_t>(-1), *options.group) != 0 || ::fchmod(fd, 0640) != 0)) {
    return os_error("counters group");
  }
  return {};
}

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

/// An object name as counters_name() and the suffix make them: no slash, so nothing outside.
bool object_name_ok(std::string_view name) noexcept {
  constexpr std::size_t kObjectNameBytesMax = 95;
  if (name.empty() || name.size() > kObjectNameBytesMax || name.front() == '.') {
    return false;
  }
  for (const char c : name) {
    const std::string_view one(&c, 1);
    if (c != '.' && !valid_broker_name(one)) {
      return false;
    }
  }
  return true;
}

CountersHeader* header_of(const Mapping& mapping) noexcept {
  return reinterpret_cast<CountersHeader*>(mapping.data());
}

CounterSlot* slots_of(const Mapping& mapping) noexcept {
  return reinterpret_cast<CounterSlot*>(mapping.data() + sizeof(CountersHeader));
}

}  // namespace

struct CountersWriter::Parts {
  Parts(bip::shared_memory_object o, Mapping m, std::string n)
      : object(std::move(o)), mapping(std::move(m)), name(std::move(n)), pid(::getpid()) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    if (::getpid() == pid && still_named(fd_of(object), name)) {
      bip::shared_memory_object::remove(name.c_str());
    }
  }

  bip::shared_memory_object object;  // keeps the lock
  Mapping mapping;
  std::string name;
  pid_t pid;
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
  const std::string base = counters_name(options.broker, ::geteuid());
  // All of them, so that an object with a suffix does not outlive the reason for its suffix.
  for (int suffix = 0; suffix <= kSuffixMax; ++suffix) {
    remove_if_stale(candidate(base, suffix));
  }
  for (int suffix = 0; suffix <= kSuffixMax; ++suffix) {
    const std::string name = candidate(base, suffix);
    Result<bip::shared_memory_object> object = create_object(name);
    if (!object) {
      if (object.error().code == Errc::in_use) {
        continue;
      }
      return object.error();
    }
    const int fd = fd_of(object.value());
    if (const Error error = claim_object(fd, options); error.code != Errc::ok) {
      if (error.code == Errc::in_use) {
        continue;  // a second broker that starts right now took it for stale and removes it
      }
      bip::shared_memory_object::remove(name.c_str());
      return error;
    }
    if (!still_named(fd, name)) {
      continue;
    }
    Result<Mapping> mapping = Mapping::map(fd, kCountersBytes, Access::read_write);
    if (!mapping) {
      bip::shared_memory_object::remove(name.c_str());
      return mapping.error();
    }
    CountersHeader* const header = header_of(mapping.value());
    header->broker_epoch = options.broker_epoch;
    header->pid = ::getpid();
    header->slots = kCounterSlots;
    header->ready.store(kReady, std::memory_order_release);  // C1
    return CountersWriter(
        std::make_unique<Parts>(std::move(object).value(), std::move(mapping).value(), name));
  }
  return Error{Errc::in_use, EEXIST, "create counters: every name is taken"};
}

Counter& CountersWriter::add(std::string_view name) {
  if (parts_->used == kCounterSlots || !counter_name_ok(name)) {
    return parts_->not_shown.emplace_back();
  }
  CounterSlot& slot = slots_of(parts_->mapping)[parts_->used];
  std::memcpy(slot.name, name.data(), name.size());  // a fresh slot is zero behind it
  ++parts_->used;
  header_of(parts_->mapping)->used.store(parts_->used, std::memory_order_release);  // C2
  return slot.value;
}

std::size_t CountersWriter::refused() const noexcept {
  return parts_->not_shown.size();
}
const std::string& CountersWriter::name() const noexcept {
  return parts_->name;
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
  if (!object_name_ok(name)) {
    return Error{Errc::invalid, 0, "open counters: name"};
  }
  const Result<bip::shared_memory_object> object = open_object(name);
  if (!object) {
    return object.error();
  }
  const int fd = fd_of(object.value());
  struct stat status = {};
  if (::fstat(fd, &status) != 0) {
    return os_error("open counters");
  }
  if (status.st_uid != owner) {
    return Error{Errc::access, 0, "open counters: of another owner"};
  }
  if (status.st_size == 0) {
    return Error{Errc::empty, 0, "open counters: being created"};
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != kCountersBytes) {
    return Error{Errc::bad_segment, 0, "open counters: size"};
  }
  Result<Mapping> mapping = Mapping::map(fd, kCountersBytes, Access::read_only);
  if (!mapping) {
    return mapping.error();
  }
  const CountersHeader* const header = header_of(mapping.value());
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
  const CountersHeader* const header = header_of(parts_->mapping);
  std::uint32_t used = header->used.load(std::memory_order_acquire);  // C2
  used = used < kCounterSlots ? used : kCounterSlots;
  std::vector<Value> values;
  values.reserve(used);
  for (std::uint32_t i = 0; i < used; ++i) {
    const CounterSlot& slot = slots_of(parts_->mapping)[i];
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

std::string counters_name(std::string_view broker, uid_t uid) {
  return "mserve-" + std::string(broker) + "-" + std::to_string(uid);
}

}  // namespace mserve::shm
