// SPDX-License-Identifier: Apache-2.0
// What a peer can do with the descriptors and mappings that it was given: both segments, its
// socket, the counters. Everything is refused, or harms nobody; the session itself works on.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>

#include "hostile/bystander.hpp"
#include "mserve/shm/counters.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

/// Every way to change a segment, other than by the one mapping that a peer has.
void expect_refused(int fd, std::uint64_t size) {
  const auto bytes = static_cast<off_t>(size);
  EXPECT_EQ(::ftruncate(fd, 0), -1);
  EXPECT_EQ(::ftruncate(fd, bytes + 4096), -1);
  EXPECT_EQ(::fallocate(fd, 0, bytes, 4096), -1);
  constexpr int kKeep = FALLOC_FL_KEEP_SIZE;
  for (const int mode :
       {FALLOC_FL_PUNCH_HOLE | kKeep, FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | kKeep,
        FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE}) {
    EXPECT_EQ(::fallocate(fd, mode, 0, 4096), -1) << mode;
  }
  const std::array<char, 64> junk{'x'};
  EXPECT_EQ(::pwrite(fd, junk.data(), junk.size(), 4096), -1);
  EXPECT_EQ(::write(fd, junk.data(), junk.size()), -1);
  const shm::UniqueFd source(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  off_t from = 0;
  EXPECT_LE(::sendfile(fd, source.get(), &from, 4096), 0);
  off64_t into = 0;
  EXPECT_LE(::copy_file_range(source.get(), nullptr, fd, &into, 4096, 0), 0);
  constexpr int kWrite = PROT_READ | PROT_WRITE;
  EXPECT_EQ(::mmap(nullptr, size, kWrite, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_FALSE(shm::UniqueFd(::open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)));
  if (const shm::UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC)); again) {
    EXPECT_EQ(::pwrite(again.get(), junk.data(), junk.size(), 4096), -1);
    EXPECT_EQ(::mmap(nullptr, size, kWrite, MAP_SHARED, again.get(), 0), MAP_FAILED);
  }
}

/// What the kernel may allow, and what nobody else may feel.
void fiddle(int fd) {
  for (const int flags : {O_NONBLOCK, 0, O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK}) {
    (void)::fcntl(fd, F_SETFL, flags);
  }
  for (const int lease : {F_RDLCK, F_WRLCK}) {
    (void)::fcntl(fd, F_SETLEASE, lease);
  }
  (void)::fcntl(fd, F_NOTIFY, DN_MODIFY | DN_ACCESS | DN_MULTISHOT);
  EXPECT_EQ(::fcntl(fd, F_SETPIPE_SZ, 1 << 20), -1);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  (void)::fcntl(fd, F_SETLK, &whole);
  (void)::fcntl(fd, F_OFD_SETLK, &whole);
  (void)::flock(fd, LOCK_EX | LOCK_NB);
  int on = 1;
  (void)::ioctl(fd, FIONBIO, &on);
  (void)::ioctl(fd, FIOASYNC, &on);
  (void)::fchmod(fd, 0);
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  (void)::lseek(fd, 1 << 20, SEEK_SET);
}

/// A peer by hand that keeps the descriptors of its segments.
struct Keeper {
  explicit Keeper(const Broker& broker) : peer(raw_client(broker)) {
    // They are gone from a RawPeer, but a process can open whatever it maps.
    for (const std::uint64_t address :
         {address_of(peer.front()), address_of(peer.broker_front())}) {
      fds.push_back(descriptor_of(address));
      EXPECT_TRUE(static_cast<bool>(fds.back()));
      struct stat info {};
      EXPECT_EQ(::fstat(fds.back().get(), &info), 0);
      sizes.push_back(static_cast<std::uint64_t>(info.st_size));
    }
  }
  static std::uint64_t address_of(const shm::SegmentFront& front) {
    return reinterpret_cast<std::uint64_t>(&front);
  }
  /// Of the mapping that begins there, by /proc.
  static shm::UniqueFd descriptor_of(std::uint64_t address) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (std::stoull(line, nullptr, 16) == address) {
        const std::string path = "/proc/self/map_files/" + line.substr(0, line.find(' '));
        return shm::UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
      }
    }
    return {};
  }
  RawPeer peer;
  std::vector<shm::UniqueFd> fds;
  std::vector<std::uint64_t> sizes;
};

TEST(HostileDescriptor, OfASegmentChangesNothingInIt) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root may open /proc/self/map_files";
  }
  Bystander others;
  {
    Keeper keeper(others.broker());
    for (std::size_t i = 0; i < keeper.fds.size(); ++i) {
      expect_refused(keeper.fds[i].get(), keeper.sizes[i]);
      fiddle(keeper.fds[i].get());
      expect_echo(others.client(), pattern(100));
    }
    shm::SegmentFront* const own = &keeper.peer.front();
    auto* const brokers = const_cast<shm::SegmentFront*>(&keeper.peer.broker_front());
    EXPECT_EQ(::madvise(own, 4096, MADV_REMOVE), -1);
    EXPECT_EQ(::madvise(brokers, 4096, MADV_REMOVE), -1);
    EXPECT_EQ(::mprotect(brokers, 4096, PROT_READ | PROT_WRITE), -1);
    for (const int advice : {MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_FREE, MADV_MERGEABLE}) {
      (void)::madvise(own, 4096, advice);
      (void)::madvise(brokers, 4096, advice);
    }
    EXPECT_TRUE(keeper.peer.request(1, pattern(10)));
    EXPECT_TRUE(keeper.peer.take()) << "its own session works on";
  }
  others.expect_unharmed();
}

TEST(HostileDescriptor, OfItsSocketHarmsOnlyItself) {
  Bystander others;
  const pid_t broker = others.broker().pid();
  {
    RawPeer attacker = raw_client(others.broker());
    const int fd = attacker.socket();
    fiddle(fd);
    // Bytes that arrive here shall signal the broker: SIGIO ends whoever did not prepare for it.
    EXPECT_EQ(::fcntl(fd, F_SETOWN, broker), 0);
    EXPECT_EQ(::fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), 0);
    const int tiny = 0;
    for (const int option : {SO_SNDBUF, SO_RCVBUF, SO_RCVLOWAT}) {
      (void)::setsockopt(fd, SOL_SOCKET, option, &tiny, sizeof(tiny));
    }
    attacker.front().polled.store(static_cast<std::uint32_t>(shm::Polled::sleeping_on_socket),
                                  std::memory_order_release);
    for (std::uint64_t id = 1; id <= 50; ++id) {
      EXPECT_TRUE(attacker.request(id, pattern(10)));
      EXPECT_TRUE(attacker.take());
      expect_echo(others.client(), pattern(100));
    }
    // It ends its own reading side; the broker's next word to it is the end of this session alone.
    EXPECT_EQ(::shutdown(fd, SHUT_RD), 0);
    (void)attacker.try_send(shm::FrameHeader{}, {}, {});
    expect_echo(others.client(), pattern(100));
  }
  EXPECT_FALSE(others.broker().process().ended());
  others.expect_unharmed();
}

long futex(std::uint32_t* word, int operation, std::uint32_t value, std::uintptr_t value2,
           std::uint32_t* other, std::uint32_t value3) {
  return ::syscall(SYS_futex, word, operation, value, value2, other, value3);
}

TEST(HostileDescriptor, FutexCallsOnEveryMappedWordWakeAndMoveNobodyElse) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    const auto words = [](const shm::SegmentFront& front) {
      return const_cast<std::uint32_t*>(reinterpret_cast<const std::uint32_t*>(&front));
    };
    std::uint32_t* const own = words(attacker.front());
    std::uint32_t* const brokers = words(attacker.broker_front());
    constexpr std::uint32_t kMany = 1U << 30;
    for (std::uint32_t* const segment : {own, brokers}) {
      for (std::size_t i = 0; i < 2 * shm::kPageBytes / sizeof(std::uint32_t); ++i) {
        std::uint32_t* const word = segment + i;
        EXPECT_LE(futex(word, FUTEX_WAKE, kMany, 0, nullptr, 0), 0);
        EXPECT_LE(futex(word, FUTEX_REQUEUE, 0, kMany, own, 0), 0);
        EXPECT_LE(futex(own, FUTEX_REQUEUE, 0, kMany, word, 0), 0);
        EXPECT_LE(futex(word, FUTEX_CMP_REQUEUE, 0, kMany, brokers, *word), 0);
        EXPECT_LE(futex(word, FUTEX_CMP_REQUEUE_PI, 1, kMany, own, *word), 0);
        EXPECT_LE(futex(own, FUTEX_WAKE_OP, kMany, kMany, brokers + i,
                        FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)),
                  0);
        EXPECT_LE(futex(brokers + i, FUTEX_TRYLOCK_PI, 0, 0, nullptr, 0), 0);
      }
      expect_echo(others.client(), pattern(100));
    }
    EXPECT_TRUE(attacker.request(1, pattern(10)));
    EXPECT_TRUE(attacker.take());
  }
  others.expect_unharmed();
}

TEST(HostileDescriptor, AnotherUserCanNeitherSignalTheBrokerNorWriteItsCounters) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can try what other users may do";
  }
  constexpr uid_t kOther = 60'001;
  constexpr gid_t kNoGroup = 65'534;
  BrokerSetup setup;
  setup.args = {"--socket-group", "nogroup", "--allow-user", std::to_string(kOther)};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  Broker broker(setup);
  const std::string counters = "/dev/shm/" + shm::counters_name(broker.name(), ::geteuid());
  Process other([&] {
    if (::setgroups(0, nullptr) != 0 || ::setgid(kNoGroup) != 0 || ::setuid(kOther) != 0) {
      return 100;
    }
    RawPeer attacker = raw_client(broker);
    const int fd = attacker.socket();
    if (::fcntl(fd, F_SETOWN, broker.pid()) != 0 || ::fcntl(fd, F_SETSIG, SIGKILL) != 0 ||
        ::fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) != 0) {
      return 101;
    }
    attacker.front().polled.store(static_cast<std::uint32_t>(shm::Polled::sleeping_on_socket),
                                  std::memory_order_release);
    for (std::uint64_t id = 1; id <= 5; ++id) {
      if (!attacker.request(id, pattern(10)) || !attacker.take()) {
        return 102;
      }
    }
    if (::open(counters.c_str(), O_RDWR | O_CLOEXEC) >= 0 || ::truncate(counters.c_str(), 0) == 0) {
      return 103;
    }
    const shm::UniqueFd reading(::open(counters.c_str(), O_RDONLY | O_CLOEXEC));
    void* const mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, reading.get(), 0);
    const bool refused =
        mapped != MAP_FAILED && ::ftruncate(reading.get(), 0) != 0 &&
        ::mprotect(mapped, 4096, PROT_READ | PROT_WRITE) != 0 &&
        ::madvise(mapped, 4096, MADV_REMOVE) != 0 &&
        ::fallocate(reading.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0;
    return refused ? 0 : 104;
  });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_FALSE(broker.process().ended());
  Client client = broker.client();
  expect_echo(client, pattern(100));
}

TEST(HostileDescriptor, LaunchedServantsInheritNone) {
  const TempDir dir;
  const std::string script = dir.file("servant.sh");
  std::ofstream(script) << "#!/bin/sh\nls -l /proc/$$/fd > " << dir.file("fds") << "\nexec "
                        << program("mserve-servant") << " --rows 0\n";
  ASSERT_EQ(::chmod(script.c_str(), 0700), 0);
  const Broker broker(BrokerSetup{.args = {"1", script}});
  const std::string text = read_file(dir.file("fds"));
  EXPECT_NE(text.find("/dev/null"), std::string::npos) << text;
  for (const char* const kind : {"socket:", "memfd:", "anon_inode:", "/dev/shm"}) {
    EXPECT_EQ(text.find(kind), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace mserve::test
