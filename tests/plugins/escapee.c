// SPDX-License-Identifier: Apache-2.0
// A policy and a route that try what no broker does, and say on stderr what became of it:
// "escapee THREAD CALL ERRNO", 0 where it was done. Nothing of it does harm where it is done,
// except that exec replaces the broker.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mserve/plugin.h"

// Where a test may see a file that should not be there.
static const char kFile[] = "/tmp/mserve-test-escapee";

static void say(const char* thread, const char* call, long result) {
  char line[96];
  const int error = result < 0 ? errno : 0;
  const int bytes = snprintf(line, sizeof(line), "escapee %s %s %d\n", thread, call, error);
  const ssize_t written = write(STDERR_FILENO, line, (size_t)bytes);
  (void)written;
}

static long open_as(int flags, const char* path) {
  const long fd = syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) {
    close((int)fd);
  }
  return fd;
}

static long close_it(long fd) {
  if (fd >= 0) {
    close((int)fd);
  }
  return fd;
}

static void try_all(const char* thread) {
  char* const nothing[] = {0};
  char* const argv[] = {(char*)"true", 0};
  static char page[4096];
  say(thread, "read_file", open_as(O_RDONLY, "/proc/self/stat"));
  say(thread, "write_file", open_as(O_WRONLY | O_APPEND, "/dev/null"));
  say(thread, "create_file", open_as(O_RDWR | O_CREAT | O_EXCL, kFile));
  say(thread, "rename", syscall(SYS_rename, kFile, "/tmp/mserve-test-escapee-too"));
  say(thread, "chmod", syscall(SYS_chmod, kFile, 0777));
  say(thread, "unix_socket", close_it(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0)));
  say(thread, "inet_socket", close_it(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
  say(thread, "packet_socket", close_it(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0)));
  say(thread, "memfd", close_it(syscall(SYS_memfd_create, "escapee", MFD_CLOEXEC)));
  say(thread, "code",
      mmap(0, sizeof(page), PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
          ? -1
          : 0);
  say(thread, "trace", syscall(SYS_ptrace, 0L, 0L, 0L, 0L));
  say(thread, "signal", syscall(SYS_kill, getpid(), 0));
  say(thread, "io_uring", syscall(SYS_io_uring_setup, 0, 0L));
  say(thread, "new_namespace", syscall(SYS_unshare, 0));
  say(thread, "become_root", syscall(SYS_setuid, 0));
#ifdef SYS_fork
  const long child = syscall(SYS_fork);
  if (child == 0) {
    syscall(SYS_exit_group, 0);
  }
  say(thread, "fork", child);
#endif
  say(thread, "exec", syscall(SYS_execve, "/bin/true", argv, nothing));
  say(thread, "end", 0);
}

static void* create(uint32_t servants_max) {
  static uint32_t entered;
  (void)servants_max;
  return &entered;
}
static void destroy(void* self) {
  (void)self;
}
static void renew(void* self, uint32_t servant) {
  (void)self;
  (void)servant;
}
static void enter(void* self, const mserve_free_servant* servant) {
  *(uint32_t*)self = servant->index;
}
static void leave(void* self, uint32_t servant, uint32_t sent) {
  (void)self;
  (void)servant;
  (void)sent;
}
static uint32_t choose(void* self) {
  static int tried;
  if (!tried) {
    tried = 1;
    try_all("data");
  }
  return *(const uint32_t*)self;
}
static uint32_t route(const mserve_call* call, char* out, uint32_t capacity) {
  (void)call;
  (void)out;
  (void)capacity;
  try_all("gateway");
  return 0;
}

const mserve_policy_table* mserve_policy_plugin(void) {
  static const mserve_policy_table table = {
      sizeof(table), MSERVE_PLUGIN_ABI, "escapee", create, destroy, renew, enter, leave, choose};
  return &table;
}
const mserve_route_table* mserve_route_plugin(void) {
  static const mserve_route_table table = {
      .size = sizeof(table), .abi = MSERVE_PLUGIN_ABI, .name = "escapee", .route = route};
  return &table;
}
