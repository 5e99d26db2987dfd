// SPDX-License-Identifier: Apache-2.0
#include "sandbox.hpp"

#include <fcntl.h>
#include <grp.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>

#include "control/log.hpp"

namespace mserve::broker {

namespace {

using Datum = scmp_datum_t;

/// A call that is allowed, always or with one argument only: (argument & mask) == value.
struct Allowed {
  const char* call;
  unsigned argument = 0;
  Datum mask = 0;  ///< 0: whatever the arguments are.
  Datum value = 0;
};

constexpr Datum kWhole = ~Datum{0};
constexpr Datum kWrites = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

constexpr Allowed kCompute[] = {
    // Memory, never executable.
    {"brk"},
    {"mmap", 2, PROT_EXEC, 0},
    {"mprotect", 2, PROT_EXEC, 0},
    {"munmap"},
    {"mremap"},
    {"madvise"},
    // Waiting and waking.
    {"futex"},
    {"epoll_wait"},
    {"epoll_pwait"},
    {"poll"},
    {"ppoll"},
    {"nanosleep"},
    {"clock_nanosleep"},
    {"sched_yield"},
    {"membarrier"},
    {"restart_syscall"},
    // What is open already.
    {"read"},
    {"write"},
    {"writev"},
    {"sendto"},
    {"sendmsg"},
    {"recvfrom"},
    {"recvmsg"},
    {"close"},
    // The thread itself, and its end.
    {"clock_gettime"},
    {"clock_getres"},
    {"gettimeofday"},
    {"time"},
    {"getpid"},
    {"gettid"},
    {"getrandom"},
    {"sched_getaffinity"},
    {"rt_sigprocmask"},
    {"rt_sigreturn"},
    {"sigaltstack"},
    {"set_robust_list"},
    {"rseq"},
    {"exit"},
    {"exit_group"},
};

constexpr Allowed kProcess[] = {
    // Descriptors.
    {"readv"},
    {"pread64"},
    {"pwrite64"},
    {"lseek"},
    {"fstat"},
    {"fcntl", 1, kWhole, F_DUPFD_CLOEXEC},
    {"fcntl", 1, kWhole, F_GETFD},
    {"fcntl", 1, kWhole, F_SETFD},
    {"fcntl", 1, kWhole, F_GETFL},
    {"fcntl", 1, kWhole, F_SETFL},
    {"fcntl", 1, kWhole, F_ADD_SEALS},
    {"fcntl", 1, kWhole, F_GET_SEALS},
    {"ioctl", 1, kWhole, FIONBIO},
    {"ioctl", 1, kWhole, FIONREAD},
    {"ioctl", 1, kWhole, TCGETS},
    {"epoll_create1"},
    {"epoll_ctl"},
    {"eventfd2"},
    {"timerfd_create"},
    {"timerfd_settime"},
    // Files, to be read: configuration, users, roles, /proc. And to be removed: its own sockets and
    // counters at the end; a filter sees no names.
    {"open", 1, kWrites, 0},
    {"openat", 2, kWrites, 0},
    {"stat"},
    {"lstat"},
    {"newfstatat"},
    {"statx"},
    {"access"},
    {"faccessat"},
    {"faccessat2"},
    {"readlink"},
    {"readlinkat"},
    {"getcwd"},
    {"unlink"},
    {"unlinkat"},
    // Segments of new sessions.
    {"memfd_create"},
    {"ftruncate"},
    {"mlock"},
    {"mlock2"},
    {"munlock"},
    // Peers. The gateway attaches to its own broker; systemd, nscd and sssd are asked in the same
    // way.
    {"socket", 0, kWhole, AF_UNIX},
    {"connect"},
    {"accept"},
    {"accept4"},
    {"getsockopt"},
    {"setsockopt"},
    {"getsockname"},
    {"getpeername"},
    {"shutdown"},
    {"pidfd_open"},
    // Threads, and the end of the launcher.
    {"clone", 0, CLONE_THREAD, CLONE_THREAD},
    {"prctl", 0, kWhole, PR_SET_NAME},
    {"sched_setaffinity"},
    {"setpriority"},
    {"prlimit64", 2, kWhole, 0},
    {"getrlimit"},
    {"getrusage"},
    {"sysinfo"},
    {"uname"},
    {"rt_sigaction"},
    {"wait4"},
    {"waitid"},
    {"getuid"},
    {"geteuid"},
    {"getgid"},
    {"getegid"},
    {"getppid"},
    {"getgroups"},
    {"seccomp"},  // can only take away more
};

// Edges  none: numbers of their own, which publish nothing
std::array<std::atomic<std::uint32_t>, 1024> g_refused;
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);  // a signal handler adds to them

#if defined(__x86_64__)
constexpr std::uint32_t kRefuse = SCMP_ACT_TRAP;

/// Runs in the thread that was refused, instead of the call.
void on_refused(int /*signal*/, siginfo_t* info, void* context) {
  const auto number = static_cast<unsigned>(info->si_syscall);
  if (number < g_refused.size()) {
    g_refused[number].fetch_add(1, std::memory_order_relaxed);
  }
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -EPERM;  // what it returns
}

bool catch_refusals() noexcept {
  struct sigaction action {};
  action.sa_sigaction = on_refused;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  return sigaction(SIGSYS, &action, nullptr) == 0;
}
#else
// Where a handler would store the result is known for x86-64 alone: refused silently, but for the
// kernel's own log.
constexpr std::uint32_t kRefuse = SCMP_ACT_ERRNO(EPERM);
bool catch_refusals() noexcept {
  return true;
}
#endif

struct Release {
  void operator()(void* filter) const noexcept { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

/// 0, or what the kernel or the library said, negative.
int allow(void* filter, std::span<const Allowed> calls) noexcept {
  for (const Allowed& one : calls) {
    const int number = seccomp_syscall_resolve_name(one.call);
    if (number == __NR_SCMP_ERROR) {
      continue;  // not on this architecture
    }
    const scmp_arg_cmp only{one.argument, SCMP_CMP_MASKED_EQ, one.mask, one.value};
    const int result =
        seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, one.mask != 0 ? 1 : 0, &only);
    if (result != 0) {
      return result;
    }
  }
  // A thread may end the process, as abort() does, but signal nobody else.
  const scmp_arg_cmp self{0, SCMP_CMP_EQ, static_cast<Datum>(getpid()), 0};
  return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
}

/// @param all_threads  else the calling one.
int load(std::span<const std::span<const Allowed>> lists, bool all_threads) noexcept {
  const Filter filter(seccomp_init(kRefuse));
  if (filter == nullptr) {
    return -ENOMEM;
  }
  const std::pair<scmp_filter_attr, std::uint32_t> attributes[] = {
      {SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS},
      {SCMP_FLTATR_CTL_NNP, 0},  // was done
      {SCMP_FLTATR_CTL_TSYNC, all_threads ? 1 : 0},
      // Kernels before 5.16 would turn on mitigations against code that this process runs for
      // others, which it does not, at the price of speed.
      {SCMP_FLTATR_CTL_SSB, 1},
      {SCMP_FLTATR_CTL_OPTIMIZE, 2}};  // a tree, not a list
  for (const auto& [attribute, value] : attributes) {
    if (const int result = seccomp_attr_set(filter.get(), attribute, value); result != 0) {
      return result;
    }
  }
  for (const auto& list : lists) {
    if (const int result = allow(filter.get(), list); result != 0 && result != -EEXIST) {
      return result;
    }
  }
  // The C library makes threads with clone() where clone3() is not there; a filter cannot see the
  // flags of the latter.
  if (const int result = seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOSYS),
                                                SCMP_SYS(clone3), 0, nullptr);
      result != 0) {
    return result;
  }
  return seccomp_load(filter.get());
}

/// What libraries would load when they are first asked: the C library what finds users and groups,
/// OpenSSL its configuration, before it hashes a password.
void load_what_is_late() {
  (void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, nullptr);
  std::array<char, 4096> buffer{};
  passwd user{};
  passwd* found_user = nullptr;
  (void)getpwuid_r(static_cast<uid_t>(-2), &user, buffer.data(), buffer.size(), &found_user);
  group one{};
  group* found_group = nullptr;
  (void)getgrgid_r(static_cast<gid_t>(-2), &one, buffer.data(), buffer.size(), &found_group);
}

}  // namespace

Error enter_sandbox(std::string& reason) {
  load_what_is_late();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    reason = "--sandbox: prctl is refused here";
    return os_error("prctl");
  }
  constexpr std::span<const Allowed> kBoth[] = {kCompute, kProcess};
  const int result = catch_refusals() ? load(kBoth, /*all_threads=*/true) : -errno;
  if (result != 0) {
    reason = "--sandbox: this kernel takes no seccomp filter; start without it";
    return {Errc::os, -result, "seccomp"};
  }
  return {};
}

Error enter_compute_cell() noexcept {
  constexpr std::span<const Allowed> kOne[] = {kCompute};
  const int result = load(kOne, /*all_threads=*/false);
  return result == 0 ? Error{} : Error{Errc::os, -result, "seccomp"};
}

void RefusedCalls::look(shm::Counter& counter) {
  std::uint64_t all = 0;
  for (std::size_t number = 0; number < g_refused.size(); ++number) {
    const std::uint32_t count = g_refused[number].load(std::memory_order_relaxed);
    all += count;
    if (count == told_[number]) {
      continue;
    }
    char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number));
    log(LogLevel::error, "sandbox_refused",
        {{"call", name != nullptr ? LogValue(name) : LogValue(number)},
         {"count", count - told_[number]},
         {"reason", LogText{"not a call that a broker makes; it was not carried out"}}});
    std::free(name);  // NOLINT(cppcoreguidelines-no-malloc): the library's
    told_[number] = count;
  }
  if (all != counter.get()) {
    counter.set(all);
  }
}

}  // namespace mserve::broker
