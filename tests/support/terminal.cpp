// SPDX-License-Identifier: Apache-2.0
#include "support/terminal.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "support/wait.hpp"

namespace mserve::test {

Terminal::Terminal(Spawn spawn)
    : master_(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
  std::array<char, 64> name{};
  const bool made = ::grantpt(master_.get()) == 0 && ::unlockpt(master_.get()) == 0 &&
                    ::ptsname_r(master_.get(), name.data(), name.size()) == 0;
  slave_.reset(made ? ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC) : -1);
  EXPECT_TRUE(slave_) << "no terminal";
  spawn.prepare = [slave = slave_.get()] {
    const bool ours = ::setsid() > 0 && ::ioctl(slave, TIOCSCTTY, 0) == 0;
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (!ours || ::dup2(slave, fd) < 0) {
        _exit(126);
      }
    }
  };
  process_ = Process(spawn);
}

void Terminal::type(std::string_view keys) {
  EXPECT_EQ(::write(master_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

const std::string& Terminal::shown() {
  std::array<char, 1024> piece{};
  for (;;) {
    const ssize_t got = ::read(master_.get(), piece.data(), piece.size());
    if (got <= 0) {
      return shown_;
    }
    shown_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

bool Terminal::shows(const std::string& text) {
  const bool there = wait_until([&] { return shown().find(text, seen_) != std::string::npos; },
                                "the terminal to show " + text);
  seen_ = there ? shown_.find(text, seen_) + text.size() : seen_;
  EXPECT_TRUE(there) << shown_;
  return there;
}

bool Terminal::echoes() const {
  termios now{};
  EXPECT_EQ(::tcgetattr(slave_.get(), &now), 0);
  return (now.c_lflag & ECHO) != 0;
}

}  // namespace mserve::test
