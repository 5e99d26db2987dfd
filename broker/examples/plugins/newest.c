// SPDX-License-Identifier: Apache-2.0
// The policy `newest`: the servant that became free last, whose caches are warm. The others stay
// cold, or idle for peaks. The free servants are a list, the newest first.
#include <stdlib.h>

#include "mserve/plugin.h"

#define NONE UINT32_MAX

typedef struct {
  uint32_t newer, older;
} node;

typedef struct {
  uint32_t newest;
  node nodes[];  // By index of the servant.
} list;

static void* create(uint32_t servants_max) {
  list* all = malloc(sizeof(list) + servants_max * sizeof(node));
  if (all != NULL) {
    all->newest = NONE;
  }
  return all;
}

static void renew(void* state, uint32_t servant) {
  (void)state;  // Nothing is remembered of a servant that is not free.
  (void)servant;
}

static void enter(void* state, const mserve_free_servant* servant) {
  list* all = state;
  all->nodes[servant->index] = (node){NONE, all->newest};
  if (all->newest != NONE) {
    all->nodes[all->newest].newer = servant->index;
  }
  all->newest = servant->index;
}

static void leave(void* state, uint32_t servant, uint32_t sent) {
  (void)sent;
  list* all = state;
  const node gone = all->nodes[servant];
  if (gone.older != NONE) {
    all->nodes[gone.older].newer = gone.newer;
  }
  if (gone.newer != NONE) {
    all->nodes[gone.newer].older = gone.older;
  } else {
    all->newest = gone.older;
  }
}

static uint32_t choose(void* state) {
  return ((list*)state)->newest;
}

const mserve_policy_table* mserve_policy_plugin(void) {
  static const mserve_policy_table table = {.size = sizeof(table),
                                            .abi = MSERVE_PLUGIN_ABI,
                                            .name = "newest",
                                            .create = create,
                                            .destroy = free,
                                            .renew = renew,
                                            .enter = enter,
                                            .leave = leave,
                                            .choose = choose};
  return &table;
}
