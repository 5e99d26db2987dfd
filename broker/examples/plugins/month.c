// SPDX-License-Identifier: Apache-2.0
// The route `month`: the month of the first date in a call, so that servants keep the partitions of
// whole months in memory. quotes[`IBM;2024.01.03 2024.01.31] has the route 2024.01, as have all
// other days of that month, and timestamps. A call without a date has no route.
#include <string.h>

#include "mserve/plugin.h"

static const char kForm[] = "0000.00.00";  // of a date; 0 is any digit
static const uint32_t kMonthBytes = 7;

// Whether a text begins with a date, as dates, lists of dates and timestamps do.
static int begins_with_date(mserve_text text) {
  if (text.size < sizeof(kForm) - 1) {
    return 0;
  }
  for (size_t i = 0; i < sizeof(kForm) - 1; ++i) {
    const char c = text.data[i];
    if (kForm[i] == '0' ? c < '0' || c > '9' : c != kForm[i]) {
      return 0;
    }
  }
  return 1;
}

static uint32_t route(const mserve_call* call, char* out, uint32_t capacity) {
  for (uint32_t i = 0; i < call->argument_count; ++i) {
    if (begins_with_date(call->arguments[i]) && capacity >= kMonthBytes) {
      memcpy(out, call->arguments[i].data, kMonthBytes);
      return kMonthBytes;
    }
  }
  return 0;
}

const mserve_route_table* mserve_route_plugin(void) {
  static const mserve_route_table table = {
      .size = sizeof(table), .abi = MSERVE_PLUGIN_ABI, .name = "month", .route = route};
  return &table;
}
