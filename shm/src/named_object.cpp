// SPDX-License-Identifier: Apache-2.0
#include "named_object.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <cerrno>
#include <string_view>
#include <utility>

#include "mserve/shm/directory.hpp"

namespace mserve::shm {
namespace {

namespace bip = boost::interprocess;

// Where Linux shows the objects; asking for the owner there opens nothing.
std::string file_of(const std::string& name) {
  return "/dev/shm/" + name;
}

bool same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// True when `name` still names the object behind `fd`.
bool object_still_named(int fd, const std::string& name) noexcept {
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

Result<bip::shared_memory_object> create_object(const std::string& name, const char* where) {
  try {
    return bip::shared_memory_object(bip::create_only, name.c_str(), bip::read_write,
                                     bip::permissions(0600));
  } catch (const bip::interprocess_exception& e) {
    return error_of(e, where);
  }
}

Result<bip::shared_memory_object> open_object(const std::string& name) {
  try {
    return bip::shared_memory_object(bip::open_only, name.c_str(), bip::read_only);
  } catch (const bip::interprocess_exception& e) {
    return error_of(e, "open named object");
  }
}

int fd_of(const bip::shared_memory_object& object) noexcept {
  return bip::ipcdetail::file_handle_from_mapping_handle(object.get_mapping_handle());
}

/// Sizes a fresh object and takes it for this writer. Space is reserved now, because a full
/// /dev/shm would otherwise be a SIGBUS at the first store.
Error claim_object(int fd, const NamedObject::Wish& wish) noexcept {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return os_error(wish.where, Errc::in_use);
  }
  const int rc = ::posix_fallocate(fd, 0, static_cast<off_t>(wish.bytes));
  if (rc != 0) {
    return {rc == ENOSPC ? Errc::no_memory : Errc::os, rc, wish.where};
  }
  if (wish.group.has_value() &&
      (::fchown(fd, static_cast<uid_t>(-1), *wish.group) != 0 || ::fchmod(fd, 0640) != 0)) {
    return os_error(wish.where);
  }
  return {};
}

}  // namespace

struct NamedObject::Parts {
  Parts(bip::shared_memory_object o, Mapping m, std::string n, int s)
      : object(std::move(o)),
        mapping(std::move(m)),
        name(std::move(n)),
        suffix(s),
        pid(::getpid()) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    if (::getpid() == pid && object_still_named(fd_of(object), name)) {
      bip::shared_memory_object::remove(name.c_str());
    }
  }

  bip::shared_memory_object object;  // keeps the lock
  Mapping mapping;
  std::string name;
  int suffix;
  pid_t pid;
};

NamedObject::NamedObject(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
NamedObject::NamedObject(NamedObject&&) noexcept = default;
NamedObject& NamedObject::operator=(NamedObject&&) noexcept = default;
NamedObject::~NamedObject() = default;

Result<NamedObject> NamedObject::create(const Wish& wish) {
  // All of them, so that an object with a suffix does not outlive the reason for its suffix.
  for (int suffix = 0; suffix <= wish.suffix_max; ++suffix) {
    remove_if_stale(suffixed(wish.base, suffix));
  }
  for (int suffix = 0; suffix <= wish.suffix_max; ++suffix) {
    const std::string name = suffixed(wish.base, suffix);
    Result<bip::shared_memory_object> object = create_object(name, wish.where);
    if (!object) {
      if (object.error().code == Errc::in_use) {
        continue;
      }
      return object.error();
    }
    const int fd = fd_of(object.value());
    if (const Error error = claim_object(fd, wish); error.code != Errc::ok) {
      if (error.code == Errc::in_use) {
        continue;  // a second broker that starts right now took it for stale and removes it
      }
      bip::shared_memory_object::remove(name.c_str());
      return error;
    }
    if (!object_still_named(fd, name)) {
      continue;
    }
    Result<Mapping> mapping = Mapping::map(fd, wish.bytes, Access::read_write);
    if (!mapping) {
      bip::shared_memory_object::remove(name.c_str());
      return mapping.error();
    }
    return NamedObject(std::make_unique<Parts>(std::move(object).value(),
                                               std::move(mapping).value(), name, suffix));
  }
  return Error{Errc::in_use, EEXIST, wish.where};
}

const std::string& NamedObject::name() const noexcept {
  return parts_->name;
}
int NamedObject::suffix() const noexcept {
  return parts_->suffix;
}
std::byte* NamedObject::data() const noexcept {
  return parts_->mapping.data();
}

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
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && object_still_named(fd, name)) {
    bip::shared_memory_object::remove(name.c_str());
  }
}

std::string suffixed(const std::string& base, int suffix) {
  return suffix == 0 ? base : base + "." + std::to_string(suffix);
}

bool object_name_ok(const std::string& name) noexcept {
  constexpr std::size_t kObjectNameBytesMax = 95;
  if (name.empty() || name.size() > kObjectNameBytesMax || name.front() == '.') {
    return false;
  }
  for (const char& c : name) {
    if (c != '.' && !valid_broker_name(std::string_view(&c, 1))) {
      return false;
    }
  }
  return true;
}

Result<Mapping> open_named(const std::string& name, uid_t owner, std::uint64_t bytes_min,
                           std::uint64_t bytes_max) {
  if (!object_name_ok(name)) {
    return Error{Errc::invalid, 0, "open named object: name"};
  }
  const Result<bip::shared_memory_object> object = open_object(name);
  if (!object) {
    return object.error();
  }
  const int fd = fd_of(object.value());
  struct stat status = {};
  if (::fstat(fd, &status) != 0) {
    return os_error("open named object");
  }
  if (status.st_uid != owner) {
    return Error{Errc::access, 0, "open named object: of another owner"};
  }
  if (status.st_size == 0) {
    return Error{Errc::empty, 0, "open named object: being created"};
  }
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || bytes < bytes_min || bytes > bytes_max) {
    return Error{Errc::bad_segment, 0, "open named object: size"};
  }
  return Mapping::map(fd, bytes, Access::read_only);
}

}  // namespace mserve::shm
