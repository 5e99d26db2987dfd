// SPDX-License-Identifier: Apache-2.0
// A policy that keeps the data thread for as long as the file $STUCK_FILE is there.
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "mserve/plugin.h"

static uint32_t entered;

static void* create(uint32_t servants_max) {
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
  (void)self;
  entered = servant->index;
}
static void leave(void* self, uint32_t servant, uint32_t sent) {
  (void)self;
  (void)servant;
  (void)sent;
}
static uint32_t choose(void* self) {
  const struct timespec nap = {0, 1000000};
  const char* const file = getenv("STUCK_FILE");
  if (file != NULL && access(file, F_OK) == 0) {
    fputs("stuck\n", stderr);
  }
  while (file != NULL && access(file, F_OK) == 0) {
    nanosleep(&nap, NULL);
  }
  return *(const uint32_t*)self;
}

const mserve_policy_table* mserve_policy_plugin(void) {
  static const mserve_policy_table table = {
      sizeof(table), MSERVE_PLUGIN_ABI, "stuck", create, destroy, renew, enter, leave, choose};
  return &table;
}
