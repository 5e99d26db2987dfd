// SPDX-License-Identifier: Apache-2.0
#include "peers/in_copy.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kCopyStopNsMax = 15'000'000'000;
constexpr char kResult = 'r';
constexpr char kError = 'e';

void write_all(int fd, const std::string& bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno != EINTR) {
      return;
    }
    written += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
}

[[noreturn]] void run_copy(const std::function<std::string()>& body, pid_t parent, int result) {
  (void)setpgid(0, 0);
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(1);  // the parent died before the line above
  }
  try {
    write_all(result, kResult + body());
  } catch (const std::exception& e) {
    write_all(result, kError + std::string(e.what()));
  }
  _exit(0);
}

/// All that the copy writes until it ends. Asks it to end when this process is to end.
std::string read_all(int fd, pid_t copy) {
  std::string text;
  std::uint64_t kill_at = 0;
  for (;;) {
    if (interrupted() && kill_at == 0) {
      (void)kill(copy, SIGTERM);
      kill_at = shm::steady_now() + kCopyStopNsMax;
    }
    if (kill_at != 0 && shm::steady_now() > kill_at) {
      (void)kill(copy, SIGKILL);
    }
    pollfd entry{fd, POLLIN, 0};
    if (poll(&entry, 1, 100) <= 0) {
      continue;
    }
    std::array<char, 4096> buffer{};
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      return text;
    }
  }
}

}  // namespace

std::string bytes_from_copy(const std::function<std::string()>& body) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  const shm::UniqueFd result(ends[0]);
  shm::UniqueFd result_write(ends[1]);
  const pid_t parent = getpid();
  (void)std::fflush(nullptr);  // or the copy might print it again
  const pid_t copy = fork();
  if (copy < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (copy == 0) {
    run_copy(body, parent, result_write.get());
  }
  result_write.reset();
  const std::string text = read_all(result.get(), copy);
  (void)waitpid(copy, nullptr, 0);
  if (interrupted()) {
    return {};
  }
  if (text.empty() || text[0] != kResult) {
    throw std::runtime_error(text.empty() ? "the measuring process ended" : text.substr(1));
  }
  return text.substr(1);
}

}  // namespace mserve::bench
