// SPDX-License-Identifier: Apache-2.0
// A policy and a route in one file that answer what they must not.
#include "mserve/plugin.h"

static uint32_t lies;

static void* create(uint32_t servants_max) {
  lies = servants_max;
  return &lies;
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
  (void)servant;
}
static void leave(void* self, uint32_t servant, uint32_t sent) {
  (void)self;
  (void)servant;
  (void)sent;
}

// In turn: the first index out of range, none, the last index, which nobody has in the tests.
static uint32_t choose(void* self) {
  const uint32_t servants_max = *(const uint32_t*)self;
  static uint32_t turn;
  const uint32_t answers[] = {servants_max, UINT32_MAX, servants_max - 1};
  return answers[turn++ % 3];
}

// More bytes than there is room for, or a zero byte.
static uint32_t route(const mserve_call* call, char* out, uint32_t capacity) {
  out[0] = '\0';
  return call->argument_count == 0 ? capacity + 1 : 1;
}

const mserve_policy_table* mserve_policy_plugin(void) {
  static const mserve_policy_table table = {
      sizeof(table), MSERVE_PLUGIN_ABI, "liar", create, destroy, renew, enter, leave, choose};
  return &table;
}

const mserve_route_table* mserve_route_plugin(void) {
  static const mserve_route_table table = {sizeof(table), MSERVE_PLUGIN_ABI, "liar", route};
  return &table;
}
