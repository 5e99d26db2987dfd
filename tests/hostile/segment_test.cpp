// SPDX-License-Identifier: Apache-2.0
// What a peer can try with the descriptor of a segment, after it is sealed or instead of it.
#include "mserve/shm/segment.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

namespace mserve::shm {
namespace {

constexpr std::uint32_t kRing = 65536;
constexpr std::uint64_t kBytes = segment_bytes(kRing, 0);

/// A segment in the state in which both sides use it: one writable mapping, sealed, one reader.
class SealedSegment : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<Segment> made = Segment::create("mserve-test", kBytes);
    ASSERT_TRUE(made);
    segment_ = std::move(made).value();
    ASSERT_EQ(segment_.write_header(make_segment_header(1ULL << 32, 5, kRing, 0)).code, Errc::ok);
    Result<Mapping> writer = segment_.map(Access::read_write);
    ASSERT_TRUE(writer);
    writer_ = std::move(writer).value();
    for (std::uint64_t i = 0; i < kRing; ++i) {
      writer_.ring()[i] = pattern(i);
    }
    ASSERT_EQ(segment_.seal_writes().code, Errc::ok);
    Result<Mapping> reader = segment_.map(Access::read_only);
    ASSERT_TRUE(reader);
    reader_ = std::move(reader).value();
  }

  // Goal of every test: the attack fails, and not one byte of the reader changed.
  void TearDown() override {
    ASSERT_TRUE(Segment::check(segment_.fd(), kBytes));
    for (std::uint64_t i = 0; i < kRing; ++i) {
      ASSERT_EQ(reader_.ring()[i], pattern(i)) << i;
    }
    writer_.ring()[0] = std::byte{0xee};
    EXPECT_EQ(reader_.ring()[0], std::byte{0xee});
  }

  static std::byte pattern(std::uint64_t i) { return static_cast<std::byte>(i * 31 + 7); }

  Segment segment_;
  Mapping writer_;
  Mapping reader_;
};

TEST_F(SealedSegment, CannotBeTruncated) {
  EXPECT_EQ(::ftruncate(segment_.fd(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(segment_.fd(), static_cast<off_t>(kBytes) - 1), -1);
}

TEST_F(SealedSegment, CannotGrow) {
  EXPECT_EQ(::ftruncate(segment_.fd(), static_cast<off_t>(kBytes) + 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fallocate(segment_.fd(), 0, 0, static_cast<off_t>(kBytes) + 4096), -1);
}

TEST_F(SealedSegment, CannotHaveHolesPunched) {
  EXPECT_EQ(::fallocate(segment_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(kBytes)),
            -1);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(SealedSegment, CannotBeRemovedThroughAMapping) {
  EXPECT_EQ(::madvise(writer_.data(), kBytes, MADV_REMOVE), -1);
  EXPECT_EQ(::madvise(reader_.data(), kBytes, MADV_REMOVE), -1);
}

TEST_F(SealedSegment, CannotBeWritten) {
  std::array<char, 64> junk{};
  junk.fill('x');
  EXPECT_EQ(::pwrite(segment_.fd(), junk.data(), junk.size(), kSegmentDataOffset), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::write(segment_.fd(), junk.data(), junk.size()), -1);
}

TEST_F(SealedSegment, CannotBeMappedWritableAgain) {
  const Result<Mapping> second = segment_.map(Access::read_write);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::os);
  EXPECT_EQ(second.error().os_errno, EPERM);
}

TEST_F(SealedSegment, CannotBeReopenedForWritingThroughProc) {
  const std::string path = "/proc/self/fd/" + std::to_string(segment_.fd());
  const UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (again) {  // opening may succeed; using it must not
    void* const mapped =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0);
    EXPECT_EQ(mapped, MAP_FAILED);
    EXPECT_EQ(::ftruncate(again.get(), 0), -1);
    EXPECT_EQ(::pwrite(again.get(), "x", 1, kSegmentDataOffset), -1);
  }
  // O_TRUNC shrinks at open() time.
  const UniqueFd truncating(::open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
  EXPECT_FALSE(static_cast<bool>(truncating));
}

TEST_F(SealedSegment, ReaderCannotBecomeWritable) {
  EXPECT_EQ(::mprotect(reader_.data(), kBytes, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(SealedSegment, CannotBeSealedFurther) {
  EXPECT_EQ(::fcntl(segment_.fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(SealedSegment, PrivateCopyOnWriteMappingChangesOnlyItself) {
  void* const mapped =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, segment_.fd(), 0);
  if (mapped != MAP_FAILED) {
    std::memset(mapped, 0xff, kBytes);
    ::munmap(mapped, kBytes);
  }
}

TEST(HostileSegment, AfterTheAcknowledgementThePeerKeepsItsMappingAndNothingElse) {
  // Goal: the order for peer->broker. The peer maps writable first; then the broker seals and maps.
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_TRUE(made);
  Segment segment = std::move(made).value();
  ASSERT_EQ(segment.write_header(make_segment_header(1ULL << 32, 5, kRing, 0)).code, Errc::ok);
  const UniqueFd peer_fd(::fcntl(segment.fd(), F_DUPFD_CLOEXEC, 0));
  Result<Mapping> peer = Mapping::map(peer_fd.get(), kBytes, Access::read_write);
  ASSERT_TRUE(peer);
  ASSERT_EQ(segment.seal_writes().code, Errc::ok);
  Result<Mapping> broker = segment.map(Access::read_only);
  ASSERT_TRUE(broker);
  (void)segment.take_fd();
  EXPECT_FALSE(Mapping::map(peer_fd.get(), kBytes, Access::read_write));
  EXPECT_EQ(::ftruncate(peer_fd.get(), 0), -1);
  EXPECT_EQ(::madvise(peer.value().data(), kBytes, MADV_REMOVE), -1);
  peer.value().ring()[5] = std::byte{77};
  EXPECT_EQ(broker.value().ring()[5], std::byte{77});
}

Errc check_code(int fd, std::uint64_t bytes) {
  const Result<SegmentHeader> checked = Segment::check(fd, bytes);
  return checked ? Errc::ok : checked.error().code;
}

TEST(HostileSegment, CheckRefusesAnythingButAMemfd) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  const UniqueFd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd a(pair[0]);
  const UniqueFd b(pair[1]);
  char path[] = "/tmp/mserve-test-XXXXXX";
  const UniqueFd file(::mkostemp(path, O_CLOEXEC));
  ASSERT_TRUE(static_cast<bool>(file));
  ::unlink(path);
  ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(kBytes)), 0);
  for (const int fd : {null.get(), zero.get(), directory.get(), a.get(), file.get()}) {
    EXPECT_EQ(check_code(fd, kBytes), Errc::bad_segment);
  }
  EXPECT_EQ(check_code(-1, kBytes), Errc::os);
}

TEST(HostileSegment, CheckRefusesAMemfdThatMayStillChangeItsSize) {
  for (const int seals : {0, F_SEAL_SHRINK, F_SEAL_GROW}) {
    const UniqueFd fd(::memfd_create("mserve-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(kBytes)), 0);
    const SegmentHeader header = make_segment_header(1ULL << 32, 5, kRing, 0);
    ASSERT_EQ(::pwrite(fd.get(), &header, sizeof(header), 0), ssize_t{sizeof(header)});
    if (seals != 0) {
      ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    }
    EXPECT_EQ(check_code(fd.get(), kBytes), Errc::bad_segment);
  }
}

TEST(HostileSegment, CheckRefusesAnotherSizeThanPromised) {
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_TRUE(made);
  ASSERT_EQ(made.value().write_header(make_segment_header(1ULL << 32, 5, kRing, 0)).code, Errc::ok);
  EXPECT_EQ(check_code(made.value().fd(), kBytes), Errc::ok);
  for (const std::uint64_t bytes : {std::uint64_t{0}, kBytes - 1, kBytes + 1, kBytes * 2,
                                    kSegmentBytesMax, kSegmentBytesMax + 1, UINT64_MAX}) {
    EXPECT_EQ(check_code(made.value().fd(), bytes), Errc::bad_segment) << bytes;
  }
}

TEST(HostileSegment, CheckRefusesEveryCorruptedHeaderByte) {
  // Goal: no byte of the header but the free values (session, epoch, minor) may differ unseen.
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_TRUE(made);
  const SegmentHeader good = make_segment_header(1ULL << 32, 5, kRing, 0);
  for (std::size_t i = 0; i < sizeof(good); ++i) {
    const bool is_free =
        (i >= offsetof(SegmentHeader, session) && i < offsetof(SegmentHeader, ring_bytes)) ||
        (i >= offsetof(SegmentHeader, layout_minor) && i < offsetof(SegmentHeader, header_bytes));
    std::array<std::byte, sizeof(good)> bytes{};
    std::memcpy(bytes.data(), &good, sizeof(good));
    bytes[i] ^= std::byte{0x5a};
    ASSERT_EQ(::pwrite(made.value().fd(), bytes.data(), bytes.size(), 0), ssize_t{sizeof(good)});
    const Errc code = check_code(made.value().fd(), kBytes);
    if (is_free) {
      EXPECT_EQ(code, Errc::ok) << i;
    } else if (i == offsetof(SegmentHeader, layout_major) ||
               i == offsetof(SegmentHeader, layout_major) + 1) {
      EXPECT_EQ(code, Errc::version_mismatch) << i;
    } else {
      EXPECT_EQ(code, Errc::bad_segment) << i;
    }
  }
}

TEST(HostileSegment, CheckRefusesAbsentSessionAndEpoch) {
  Result<Segment> made = Segment::create("mserve-test", kBytes);
  ASSERT_TRUE(made);
  ASSERT_EQ(made.value().write_header(make_segment_header(0, 5, kRing, 0)).code, Errc::ok);
  EXPECT_EQ(check_code(made.value().fd(), kBytes), Errc::bad_segment);
  ASSERT_EQ(made.value().write_header(make_segment_header(1ULL << 32, 0, kRing, 0)).code, Errc::ok);
  EXPECT_EQ(check_code(made.value().fd(), kBytes), Errc::bad_segment);
}

}  // namespace
}  // namespace mserve::shm
