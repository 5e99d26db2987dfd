// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/segment.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "support/open_fds.hpp"
#include "support/sanitized.hpp"

namespace mserve::shm {
namespace {

// The sanitizers' runtimes turn mlock() into nothing.
constexpr bool kCanLock = !test::kSanitized;

constexpr std::uint32_t kRing = 65536;
constexpr std::uint64_t kBytes = segment_bytes(kRing, kControlRingBytes);

Segment make_segment() {
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  EXPECT_TRUE(made);
  Segment segment = std::move(made).value();
  EXPECT_EQ(
      segment.write_header(make_segment_header((1ULL << 32) | 7, 99, kRing, kControlRingBytes))
          .code,
      Errc::ok);
  return segment;
}

TEST(Segment, IsZeroClosedOnExecAndOfTheSizeAskedFor) {
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_TRUE(made);
  EXPECT_EQ(made.value().size(), kBytes);
  EXPECT_EQ(::fcntl(made.value().fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  Result<Mapping> mapping = made.value().map(Access::read_only);
  ASSERT_TRUE(mapping);
  for (std::uint64_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ(mapping.value().data()[i], std::byte{0});
  }
}

TEST(Segment, RefusesSizesOutsideItsRange) {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{kPageBytes - 1},
        std::uint64_t{kPageBytes + 1}, kSegmentBytesMax + kPageBytes, UINT64_MAX,
        std::uint64_t{1} << 63}) {
    const Result<Segment> made = Segment::create("mserve-test", bytes);
    ASSERT_FALSE(made) << bytes;
    EXPECT_EQ(made.error().code, Errc::invalid);
  }
}

TEST(Segment, CheckAcceptsWhatTheBrokerMadeBeforeAndAfterSealing) {
  Segment segment = make_segment();
  Result<SegmentHeader> header = Segment::check(segment.fd(), kBytes);
  ASSERT_TRUE(header) << header.error().where;
  EXPECT_EQ(header.value().session, (1ULL << 32) | 7);
  EXPECT_EQ(header.value().broker_epoch, 99U);
  EXPECT_EQ(header.value().ring_bytes, kRing);
  ASSERT_EQ(segment.seal_writes().code, Errc::ok);
  EXPECT_TRUE(Segment::check(segment.fd(), kBytes));
}

TEST(Segment, WriterAndReaderShareMemoryAfterSealing) {
  // The order of DESIGN section 4 for broker->peer: map writable, seal, the other side maps.
  Segment segment = make_segment();
  Result<Mapping> writer = segment.map(Access::read_write);
  ASSERT_TRUE(writer);
  ASSERT_EQ(segment.seal_writes().code, Errc::ok);
  Result<Mapping> reader = segment.map(Access::read_only);
  ASSERT_TRUE(reader);
  writer.value().front()->producer_pos.store(42, std::memory_order_relaxed);
  EXPECT_EQ(reader.value().front()->producer_pos.load(std::memory_order_relaxed), 42U);
  writer.value().ring()[kRing - 1] = std::byte{9};
  EXPECT_EQ(reader.value().ring()[kRing - 1], std::byte{9});
}

TEST(Segment, HeaderCannotBeWrittenOnceSealed) {
  Segment segment = make_segment();
  ASSERT_EQ(segment.seal_writes().code, Errc::ok);
  EXPECT_EQ(segment.write_header(make_segment_header(1ULL << 32, 1, kRing, 0)).os_errno, EPERM);
  EXPECT_EQ(segment.seal_writes().os_errno, EPERM);
}

TEST(Segment, LeaksNoDescriptor) {
  const std::size_t before = test::open_fds();
  for (int i = 0; i < 20; ++i) {
    Segment segment = make_segment();
    Result<Mapping> mapping = segment.map(Access::read_write);
    ASSERT_TRUE(mapping);
    (void)Segment::create("mserve-test", 3);
  }
  EXPECT_EQ(test::open_fds(), before);
}

TEST(Segment, SaysNoMemoryWhenDescriptorsRunOut) {
  rlimit old = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const rlimit none = {0, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::no_memory);
}

TEST(Mapping, PrefaultMakesEveryPageResident) {
  for (const Access access : {Access::read_write, Access::read_only}) {
    const Segment segment = make_segment();
    Result<Mapping> mapping = segment.map(access, {.prefault = true});
    ASSERT_TRUE(mapping);
    std::vector<unsigned char> resident(kBytes / kPageBytes);
    ASSERT_EQ(::mincore(mapping.value().data(), kBytes, resident.data()), 0);
    for (const unsigned char page : resident) {
      EXPECT_EQ(page & 1, 1);
    }
  }
}

TEST(Mapping, IsNotInheritedByAForkedChild) {
  const Segment segment = make_segment();
  Result<Mapping> mapping = segment.map(Access::read_write);
  ASSERT_TRUE(mapping);
  const pid_t child = ::fork();
  if (child == 0) {
    unsigned char resident = 0;
    const int rc = ::mincore(mapping.value().data(), kPageBytes, &resident);
    ::_exit(rc != 0 && errno == ENOMEM ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Mapping, LockIsDoneOrItsRefusalTold) {
  if (!kCanLock) {
    GTEST_SKIP() << "a sanitizer intercepts mlock";
  }
  const Segment segment = make_segment();
  Result<Mapping> mapping = segment.map(Access::read_write, {.prefault = true, .lock = true});
  ASSERT_TRUE(mapping);
  if (mapping.value().lock_errno() != 0) {
    GTEST_SKIP() << "mlock is refused here: " << mapping.value().lock_errno();
  }
  std::ifstream status("/proc/self/status");
  std::string line;
  std::uint64_t locked_kib = 0;
  while (std::getline(status, line)) {
    if (line.rfind("VmLck:", 0) == 0) {
      locked_kib = std::stoull(line.substr(6));
    }
  }
  EXPECT_GE(locked_kib, kBytes / 1024);
}

TEST(Mapping, MoveTakesEverythingAlong) {
  const Segment segment = make_segment();
  Result<Mapping> made = segment.map(Access::read_only);
  ASSERT_TRUE(made);
  std::byte* const data = made.value().data();
  Mapping moved = std::move(made).value();
  Mapping again;
  EXPECT_EQ(again.front(), nullptr);
  again = std::move(moved);
  EXPECT_EQ(again.data(), data);
  EXPECT_EQ(again.size(), kBytes);
  EXPECT_EQ(again.front()->header.magic, kSegmentMagic);
  // What is left is the point.
  // NOLINTNEXTLINE(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_EQ(moved.data(), nullptr);
  EXPECT_EQ(moved.ring(), nullptr);
}

TEST(Mapping, RefusesNothingTooMuchAndBadDescriptors) {
  const Segment segment = make_segment();
  EXPECT_EQ(Mapping::map(segment.fd(), 0, Access::read_only).error().code, Errc::invalid);
  EXPECT_EQ(Mapping::map(segment.fd(), kSegmentBytesMax + 1, Access::read_only).error().code,
            Errc::invalid);
  EXPECT_EQ(Mapping::map(-1, kBytes, Access::read_only).error().code, Errc::os);
}

}  // namespace
}  // namespace mserve::shm
