// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/directory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "mserve/shm/socket.hpp"

namespace mserve::shm {
namespace {

namespace fs = std::filesystem;

/// Sets one environment variable for a scope; null unsets it.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* const old = std::getenv(name);
    had_ = old != nullptr;
    old_ = had_ ? old : "";
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { had_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  bool had_ = false;
  std::string old_;
};

class Directory : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/mserve-test-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    base_ = path;
    path_ = base_ + "/meet";
  }
  void TearDown() override { fs::remove_all(base_); }

  Errc prepare(std::optional<gid_t> group = std::nullopt) {
    return prepare_directory(path_, group, &reason_).code;
  }
  mode_t mode() const {
    struct stat status = {};
    EXPECT_EQ(::stat(path_.c_str(), &status), 0);
    return status.st_mode & 0777U;
  }

  std::string base_;
  std::string path_;
  std::string reason_;
};

TEST(DirectoryRule, GoesByEnvironmentThenByUser) {
  const Environment a("MSERVE_DIR", "/somewhere/");
  const Environment b("XDG_RUNTIME_DIR", "/run/user/1");
  EXPECT_EQ(default_directory(), "/somewhere");
  {
    // Taken as it is and refused where it is used; it was ignored once, so that client and broker
    // met nowhere.
    const Environment relative("MSERVE_DIR", "not/absolute");
    EXPECT_EQ(default_directory(), "not/absolute");
    std::string reason;
    EXPECT_EQ(check_directory(default_directory(), DirectoryOwner::self, false, &reason).code,
              Errc::unsafe_directory);
    EXPECT_NE(reason.find("absolute"), std::string::npos) << reason;
    EXPECT_EQ(prepare_directory(default_directory(), std::nullopt, &reason).code,
              Errc::unsafe_directory);
  }
  {
    const Environment none("MSERVE_DIR", "");
    EXPECT_EQ(default_directory(), "/run/user/1/mserve");
    const Environment relative("XDG_RUNTIME_DIR", "not/absolute");
    EXPECT_EQ(default_directory(),
              ::geteuid() == 0 ? "/run/mserve" : "/tmp/mserve-" + std::to_string(::geteuid()));
  }
}

TEST(BrokerName, TakesOnlyPlainNames) {
  for (const char* good : {"default", "a", "A-b_c.9", "-x"}) {
    EXPECT_TRUE(valid_broker_name(good)) << good;
  }
  EXPECT_TRUE(valid_broker_name(std::string(64, 'n')));
  EXPECT_FALSE(valid_broker_name(std::string(65, 'n')));
  for (const char* bad : {"", ".", "..", ".hidden", "a/b", "a b", "a\n", "\xc3\xa4", "a:b"}) {
    EXPECT_FALSE(valid_broker_name(bad)) << bad;
  }
  EXPECT_FALSE(valid_broker_name(std::string_view("a\0b", 3)));
}

TEST_F(Directory, IsCreatedForItsOwnerOnlyWhateverTheUmask) {
  const mode_t old = ::umask(0);
  EXPECT_EQ(prepare(), Errc::ok) << reason_;
  ::umask(old);
  EXPECT_EQ(mode(), 0700U);
  EXPECT_EQ(prepare(), Errc::ok) << "a second time";
  EXPECT_EQ(check_directory(path_ + "///", DirectoryOwner::self, false).code, Errc::ok);
}

TEST_F(Directory, IsSharedWithAGroupOnlyWhenAskedFor) {
  ASSERT_EQ(prepare(), Errc::ok);
  EXPECT_EQ(prepare(::getegid()), Errc::ok) << reason_;
  EXPECT_EQ(mode(), 0750U);
  EXPECT_EQ(check_directory(path_, DirectoryOwner::self, true).code, Errc::ok);
  EXPECT_EQ(prepare(), Errc::unsafe_directory);
  EXPECT_NE(reason_.find("chmod 700 " + path_), std::string::npos) << reason_;
}

TEST_F(Directory, IsRefusedWhenOpenToOthers) {
  ASSERT_EQ(prepare(), Errc::ok);
  for (const mode_t open : {0701U, 0702U, 0704U, 0710U, 0720U, 0740U, 0777U}) {
    ASSERT_EQ(::chmod(path_.c_str(), open), 0);
    EXPECT_EQ(prepare(), Errc::unsafe_directory) << open;
    EXPECT_EQ(check_directory(path_, DirectoryOwner::anybody, false).code, Errc::unsafe_directory);
  }
  for (const mode_t open : {0751U, 0770U, 0720U}) {
    ASSERT_EQ(::chmod(path_.c_str(), open), 0);
    EXPECT_EQ(check_directory(path_, DirectoryOwner::self, true).code, Errc::unsafe_directory);
  }
}

TEST_F(Directory, IsRefusedWhenItIsASymbolicLink) {
  const std::string real = base_ + "/real";
  ASSERT_EQ(::mkdir(real.c_str(), 0700), 0);
  ASSERT_EQ(::symlink(real.c_str(), path_.c_str()), 0);
  EXPECT_EQ(prepare(), Errc::unsafe_directory);
  EXPECT_NE(reason_.find("symbolic link"), std::string::npos);
  path_ += "/";
  EXPECT_EQ(prepare(), Errc::unsafe_directory);
  EXPECT_EQ(check_directory(path_, DirectoryOwner::anybody, true).code, Errc::unsafe_directory);
}

TEST_F(Directory, IsRefusedWhenItIsAFile) {
  std::ofstream(path_) << "x";
  EXPECT_EQ(prepare(), Errc::unsafe_directory);
}

TEST_F(Directory, IsRefusedWhenItBelongsToSomebodyElse) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  ASSERT_EQ(::chown(path_.c_str(), 12345, static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(prepare(), Errc::unsafe_directory);
  EXPECT_NE(reason_.find("12345"), std::string::npos);
  EXPECT_EQ(prepare(::getegid()), Errc::os) << "and it is not taken over for a group";
  EXPECT_EQ(check_directory(path_, DirectoryOwner::self_or_root, false).code,
            Errc::unsafe_directory);
  EXPECT_EQ(check_directory(path_, DirectoryOwner::anybody, false).code, Errc::ok);
}

TEST_F(Directory, MissingMeansNoBrokerForAPeerAndAnErrorWithoutAParent) {
  EXPECT_EQ(check_directory(path_, DirectoryOwner::self, false, &reason_).code, Errc::no_broker);
  EXPECT_FALSE(reason_.empty());
  path_ += "/deeper/still";
  EXPECT_EQ(prepare(), Errc::os);
}

TEST_F(Directory, SocketPathIsBounded) {
  EXPECT_EQ(socket_path("/run/mserve/", "default").value(), "/run/mserve/default.sock");
  EXPECT_EQ(socket_path("/run", "../x").error().code, Errc::invalid);
  const std::string longest = "/" + std::string(107 - 1 - 1 - 1 - 5, 'd');
  EXPECT_EQ(socket_path(longest, "n").value().size(), 107U);
  EXPECT_EQ(socket_path(longest + "d", "n", &reason_).error().code, Errc::invalid);
  EXPECT_NE(reason_.find("MSERVE_DIR"), std::string::npos);
}

class NameLocks : public Directory {
 protected:
  void SetUp() override {
    Directory::SetUp();
    ASSERT_EQ(prepare(), Errc::ok);
  }
};

TEST_F(NameLocks, OneHolderAtATimeAndThePidIsTold) {
  Result<NameLock> first = NameLock::take(path_, "a");
  ASSERT_TRUE(first);
  EXPECT_EQ(first.value().socket(), path_ + "/a.sock");
  Result<NameLock> second = NameLock::take(path_, "a", &reason_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::in_use);
  EXPECT_NE(reason_.find("pid " + std::to_string(::getpid())), std::string::npos) << reason_;
  EXPECT_TRUE(NameLock::take(path_, "b")) << "another name is free";
  EXPECT_EQ(NameLock::take(path_, ".a").error().code, Errc::invalid);
}

TEST_F(NameLocks, CleanReleaseLeavesNothing) {
  Result<NameLock> lock = NameLock::take(path_, "a");
  ASSERT_TRUE(lock);
  Result<UniqueFd> listener = listen_at(lock.value().socket());
  ASSERT_TRUE(listener);
  lock.value().release();
  EXPECT_FALSE(lock.value().held());
  EXPECT_TRUE(fs::is_empty(path_));
  lock.value().release();
  EXPECT_TRUE(NameLock::take(path_, "a"));
}

TEST_F(NameLocks, MoveKeepsTheLock) {
  Result<NameLock> lock = NameLock::take(path_, "a");
  ASSERT_TRUE(lock);
  NameLock moved = std::move(lock).value();
  EXPECT_EQ(NameLock::take(path_, "a").error().code, Errc::in_use);
  Result<NameLock> other = NameLock::take(path_, "b");
  ASSERT_TRUE(other);
  moved = std::move(other).value();
  EXPECT_TRUE(NameLock::take(path_, "a")) << "assignment releases what was held";
}

/// Runs a second process that takes the name, says so, and keeps it until told to end.
class OtherBroker {
 public:
  OtherBroker(const std::string& directory, const char* name) {
    int ready[2] = {-1, -1};
    int end[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(end, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(end[1]);
      Result<NameLock> lock = NameLock::take(directory, name);
      Result<UniqueFd> listener =
          lock ? listen_at(lock.value().socket()) : Result<UniqueFd>(Error{Errc::in_use, 0, ""});
      char c = listener ? 'y' : 'n';
      (void)!::write(ready[1], &c, 1);
      (void)!::read(end[0], &c, 1);
      if (c == 'c' && lock) {
        lock.value().release();
      }
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(end[0]);
    end_.reset(end[1]);
    char c = 'n';
    const UniqueFd ready_end(ready[0]);
    has_lock = ::read(ready_end.get(), &c, 1) == 1 && c == 'y';
  }
  OtherBroker(const OtherBroker&) = delete;
  OtherBroker& operator=(const OtherBroker&) = delete;
  ~OtherBroker() { die(); }

  void stop_cleanly() {
    (void)!::write(end_.get(), "c", 1);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void die() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  bool has_lock = false;

 private:
  pid_t pid_ = -1;
  UniqueFd end_;
};

TEST_F(NameLocks, ALiveBrokerIsNeverTakenAndADeadOneReplaced) {
  OtherBroker other(path_, "a");
  ASSERT_TRUE(other.has_lock);
  EXPECT_EQ(NameLock::take(path_, "a", &reason_).error().code, Errc::in_use);
  EXPECT_NE(reason_.find(std::to_string(other.pid())), std::string::npos);
  EXPECT_TRUE(connect_to(path_ + "/a.sock", kNoDeadline));
  other.die();
  EXPECT_TRUE(fs::exists(path_ + "/a.sock")) << "the dead broker left its socket";
  Result<NameLock> lock = NameLock::take(path_, "a", &reason_);
  ASSERT_TRUE(lock) << reason_;
  Result<UniqueFd> listener = listen_at(lock.value().socket());
  ASSERT_TRUE(listener);
  EXPECT_TRUE(connect_to(path_ + "/a.sock", kNoDeadline));
}

TEST_F(NameLocks, ACleanStopOfAnotherProcessFreesTheName) {
  OtherBroker other(path_, "a");
  ASSERT_TRUE(other.has_lock);
  other.stop_cleanly();
  EXPECT_TRUE(fs::is_empty(path_));
  EXPECT_TRUE(NameLock::take(path_, "a"));
}

TEST_F(NameLocks, AForkedChildCannotReleaseItsParentsName) {
  Result<NameLock> lock = NameLock::take(path_, "a");
  ASSERT_TRUE(lock);
  const pid_t child = ::fork();
  if (child == 0) {
    lock.value().release();
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(path_ + "/a.lock"));
  EXPECT_EQ(NameLock::take(path_, "a").error().code, Errc::in_use);
}

TEST_F(NameLocks, WhoeverLockedAnUnlinkedFileStartsOver) {
  // Goal: the release race. Method: a stranger's lock on the old inode, a new file under the name.
  const std::string path = path_ + "/a.lock";
  const UniqueFd old(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(static_cast<bool>(old));
  ASSERT_EQ(::unlink(path.c_str()), 0);
  Result<NameLock> lock = NameLock::take(path_, "a");
  ASSERT_TRUE(lock);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  Result<NameLock> replacing = NameLock::take(path_, "a");
  ASSERT_TRUE(replacing);
  lock.value().release();
  EXPECT_TRUE(fs::exists(path)) << "a lost lock must not unlink its successor's files";
}

}  // namespace
}  // namespace mserve::shm
