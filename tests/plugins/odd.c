// SPDX-License-Identifier: Apache-2.0
// A policy with whatever its build says is wrong with it; otherwise one that chooses servant 0.
#include "mserve/plugin.h"

#ifndef ODD_ABI
#define ODD_ABI MSERVE_PLUGIN_ABI
#endif
#ifndef ODD_SIZE
#define ODD_SIZE sizeof(mserve_policy_table)
#endif
#ifndef ODD_NAME
#define ODD_NAME "odd"
#endif
#ifndef ODD_CHOOSE
#define ODD_CHOOSE choose
#endif
#ifndef ODD_STATE
#define ODD_STATE &state
#endif
#ifndef ODD_TABLE
#define ODD_TABLE table
#endif

static int state;

static void* create(uint32_t servants_max) {
  (void)servants_max;
  state = 0;
  return ODD_STATE;
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
static uint32_t choose(void* self) {
  (void)self;
  return 0;
}

static const struct {
  mserve_policy_table front;
  void* further;  // What a later version of the table may have.
} table_and_more = {
    {(uint32_t)(ODD_SIZE), ODD_ABI, ODD_NAME, create, destroy, renew, enter, leave, ODD_CHOOSE}, 0};

const mserve_policy_table* mserve_policy_plugin(void) {
  const mserve_policy_table* const table = &table_and_more.front;
  (void)table;
  (void)choose;
  return ODD_TABLE;
}
