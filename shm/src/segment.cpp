// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/segment.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstring>
#include <new>

namespace mserve::shm {
namespace {

namespace bip = boost::interprocess;

// Linux 6.3; Debian 12's headers are older. It also seals the executable bit.
constexpr unsigned kMfdNoexecSeal = 0x0008U;

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr int kWriteSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

/// A descriptor in the form that mapped_region takes (its MemoryMappable concept); owns nothing.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  [[nodiscard]] bip::mapping_handle_t get_mapping_handle() const noexcept {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

Error mapping_error(const bip::interprocess_exception& e, const char* where) noexcept {
  const int native = static_cast<int>(e.get_native_error());
  return {native == ENOMEM ? Errc::no_memory : Errc::os, native, where};
}

// For kernels before 5.14, which have no MADV_POPULATE_*. Adding zero changes nothing, even if the
// other side stores at the same time.
void touch_pages(std::byte* data, std::uint64_t bytes, Access access) noexcept {
  for (std::uint64_t offset = 0; offset < bytes; offset += kPageBytes) {
    auto* const word = reinterpret_cast<std::atomic<std::uint32_t>*>(data + offset);
    if (access == Access::read_write) {
      word->fetch_add(0, std::memory_order_relaxed);  // only the page fault matters
    } else {
      (void)word->load(std::memory_order_relaxed);  // only the page fault matters
    }
  }
}

Error prefault(std::byte* data, std::uint64_t bytes, Access access) noexcept {
  const int advice = access == Access::read_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  int rc = 0;
  do {
    rc = ::madvise(data, bytes, advice);
  } while (rc != 0 && errno == EINTR);
  if (rc == 0) {
    return {};
  }
  if (errno == EINVAL) {
    touch_pages(data, bytes, access);
    return {};
  }
  return os_error("prefault segment",
                  errno == ENOMEM || errno == EFAULT ? Errc::no_memory : Errc::os);
}

bool sane(const SegmentHeader& header, std::uint64_t expected_bytes) noexcept {
  const bool control_ok =
      header.control_bytes == 0 ||
      (std::has_single_bit(header.control_bytes) && header.control_bytes >= kRingBytesMin &&
       header.control_bytes <= kControlRingBytesMax);
  for (const std::uint8_t byte : header.reserved) {
    if (byte != 0) {
      return false;
    }
  }
  return control_ok && header.header_bytes == kSegmentDataOffset &&
         header.segment_bytes == expected_bytes && std::has_single_bit(header.ring_bytes) &&
         header.ring_bytes >= kRingBytesMin && header.ring_bytes <= kRingBytesMax &&
         segment_bytes(header.ring_bytes, header.control_bytes) == expected_bytes &&
         header.session != 0 && header.broker_epoch != 0;
}

}  // namespace

struct Mapping::Region {
  bip::mapped_region region;
};

Mapping::Mapping() noexcept = default;
Mapping::~Mapping() = default;

Mapping::Mapping(Mapping&& other) noexcept
    : region_(std::move(other.region_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      lock_errno_(std::exchange(other.lock_errno_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    region_ = std::move(other.region_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    lock_errno_ = std::exchange(other.lock_errno_, 0);
  }
  return *this;
}

Result<Mapping> Mapping::map(int fd, std::uint64_t bytes, Access access, MapOptions options) {
  if (bytes == 0 || bytes > kSegmentBytesMax) {
    return Error{Errc::invalid, 0, "map segment: size out of range"};
  }
  Mapping mapping;
  try {
    mapping.region_ = std::make_unique<Region>();
    mapping.region_->region = bip::mapped_region(
        Descriptor(fd), access == Access::read_write ? bip::read_write : bip::read_only, 0,
        static_cast<std::size_t>(bytes));
  } catch (const bip::interprocess_exception& e) {
    return mapping_error(e, "map segment");
  } catch (const std::bad_alloc&) {
    return Error{Errc::no_memory, ENOMEM, "map segment"};
  }
  mapping.data_ = static_cast<std::byte*>(mapping.region_->region.get_address());
  mapping.bytes_ = bytes;
  if (::madvise(mapping.data_, bytes, MADV_DONTFORK) != 0) {
    return os_error("madvise DONTFORK");
  }
  if (options.prefault) {
    if (const Error error = prefault(mapping.data_, bytes, access); error.code != Errc::ok) {
      return error;
    }
  }
  if (options.lock && ::mlock(mapping.data_, bytes) != 0) {
    mapping.lock_errno_ = errno;
  }
  return mapping;
}

Result<Segment> Segment::create(const char* name, std::uint64_t bytes) {
  if (bytes < kPageBytes || bytes > kSegmentBytesMax || bytes % kPageBytes != 0) {
    return Error{Errc::invalid, 0, "create segment: size out of range"};
  }
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(name, flags | kMfdNoexecSeal));
  if (!fd && errno == EINVAL) {
    fd.reset(::memfd_create(name, flags));
  }
  if (!fd) {
    const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    return os_error("memfd_create", exhausted ? Errc::no_memory : Errc::os);
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return os_error("ftruncate segment", errno == ENOMEM ? Errc::no_memory : Errc::os);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSizeSeals) != 0) {
    return os_error("seal segment size");
  }
  return Segment(std::move(fd), bytes);
}

Error Segment::write_header(const SegmentHeader& header) noexcept {
  const ssize_t written = ::pwrite(fd_.get(), &header, sizeof(header), 0);
  if (written != static_cast<ssize_t>(sizeof(header))) {
    return os_error("write segment header");
  }
  return {};
}

Error Segment::seal_writes() noexcept {
  if (::fcntl(fd_.get(), F_ADD_SEALS, kWriteSeals) != 0) {
    return os_error("seal segment");
  }
  const int seals = ::fcntl(fd_.get(), F_GET_SEALS);
  const int wanted = kSizeSeals | kWriteSeals;
  if (seals < 0 || (seals & wanted) != wanted) {
    return {Errc::bad_segment, 0, "seal segment: a seal is missing"};
  }
  return {};
}

Result<SegmentHeader> Segment::check(int fd, std::uint64_t expected_bytes) noexcept {
  if (expected_bytes == 0 || expected_bytes > kSegmentBytesMax) {
    return Error{Errc::bad_segment, 0, "check segment: promised size out of range"};
  }
  // Seals first: only they make the size that follows final. Files outside a memfd cannot have
  // them.
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 && errno == EBADF) {
    return os_error("check segment");
  }
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    return Error{Errc::bad_segment, 0, "check segment: not a memfd sealed against resizing"};
  }
  struct stat status = {};
  if (::fstat(fd, &status) != 0) {
    return os_error("check segment: fstat");
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != expected_bytes) {
    return Error{Errc::bad_segment, 0, "check segment: size differs from what was promised"};
  }
  SegmentHeader header = {};
  if (::pread(fd, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) {
    return Error{Errc::bad_segment, errno, "check segment: no header"};
  }
  if (header.magic != kSegmentMagic) {
    return Error{Errc::bad_segment, 0, "check segment: magic"};
  }
  if (header.layout_major != kLayoutMajor) {
    return Error{Errc::version_mismatch, 0, "check segment: layout version"};
  }
  if (!sane(header, expected_bytes)) {
    return Error{Errc::bad_segment, 0, "check segment: header"};
  }
  return header;
}

SegmentHeader make_segment_header(std::uint64_t session, std::uint64_t broker_epoch,
                                  std::uint32_t ring_bytes, std::uint32_t control_bytes) noexcept {
  SegmentHeader header = {};
  header.magic = kSegmentMagic;
  header.layout_major = kLayoutMajor;
  header.layout_minor = kLayoutMinor;
  header.header_bytes = kSegmentDataOffset;
  header.segment_bytes = segment_bytes(ring_bytes, control_bytes);
  header.session = session;
  header.broker_epoch = broker_epoch;
  header.ring_bytes = ring_bytes;
  header.control_bytes = control_bytes;
  return header;
}

}  // namespace mserve::shm
