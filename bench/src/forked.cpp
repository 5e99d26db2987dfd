// SPDX-License-Identifier: Apache-2.0
#include "forked.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace mserve::bench {

Forked::Forked(const std::function<void()>& body) {
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (pid_ == 0) {
    (void)setpgid(0, 0);  // Ctrl-C is for the parent, which kills us
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
      body();
    }
    _exit(0);
  }
}

Forked::~Forked() {
  (void)kill(pid_, SIGKILL);
  (void)waitpid(pid_, nullptr, 0);
}

SharedMemory::SharedMemory(std::size_t bytes)
    : data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
      bytes_(bytes) {
  if (data_ == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "no memory for processes to share");
  }
}

SharedMemory::~SharedMemory() {
  (void)munmap(data_, bytes_);
}

}  // namespace mserve::bench
