// SPDX-License-Identifier: Apache-2.0
// Loaded with LD_PRELOAD: the wall clock leaps ten years ahead, and back, each time it is read. The
// monotonic clock stays as it is.
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static atomic_uint reads;

static time_t leap(void) {
  return atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed) % 2 == 0 ? 315360000 : 0;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int rc = (int)syscall(SYS_clock_gettime, clock, now);
  if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    now->tv_sec += leap();
  }
  return rc;
}

int gettimeofday(struct timeval* now, void* zone) {
  (void)zone;
  struct timespec precise;
  const int rc = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return rc;
}

time_t time(time_t* out) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) {
    *out = now.tv_sec;
  }
  return now.tv_sec;
}
