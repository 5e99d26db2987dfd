// SPDX-License-Identifier: Apache-2.0
#include "peers/role_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <system_error>

#include "child.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "peers/child_relay.hpp"

namespace mserve::bench {
namespace {

/// The copy's side.
void run(const std::string& name, int ready,
         const std::function<void(const std::function<void()>&)>& body) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    (void)signal(number, SIG_DFL);
  }
  try {
    body([ready] { (void)!write(ready, "r", 1); });
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "mserve-bench: %s: %s\n", name.c_str(), e.what());
  }
}

}  // namespace

RoleProcess::RoleProcess(std::string name,
                         const std::function<void(const std::function<void()>&)>& body)
    : name_(std::move(name)) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  const shm::UniqueFd ready(ends[0]);
  shm::UniqueFd ready_write(ends[1]);
  (void)std::fflush(nullptr);  // or the copy might print it again
  process_ = std::make_unique<Forked>([&] { run(name_, ready_write.get(), body); });
  ready_write.reset();
  wait_until_ready(ready.get());
}

void RoleProcess::wait_until_ready(int ready) {
  const std::uint64_t deadline = shm::steady_now() + kReadyNsMax;
  while (!interrupted()) {
    pollfd entry{ready, POLLIN, 0};
    char byte = 0;
    if (poll(&entry, 1, 100) > 0) {
      if (read(ready, &byte, 1) == 1) {
        return;
      }
      throw std::runtime_error(name_ + " ended before it was ready");
    }
    if (shm::steady_now() > deadline) {
      throw std::runtime_error(name_ + " was not ready after 30 s");
    }
  }
}

bool RoleProcess::ended() {
  return has_ended(process_->pid());
}

std::unique_ptr<Relay> fork_relay(
    const std::string& name, const PeerOptions& options,
    const std::function<void(const std::function<void()>& ready)>& body) {
  return std::make_unique<RoleProcess>(name, [&options, &body](const std::function<void()>& ready) {
    const int core = relay_core(options);
    const bool late = options.setting.free_threads;
    if (core >= 0 && !late) {
      (void)pin_to(core);
    }
    body([core, late, &ready] {
      if (core >= 0 && late) {
        (void)pin_to(core);
      }
      ready();
    });
  });
}

}  // namespace mserve::bench
