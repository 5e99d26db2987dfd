// SPDX-License-Identifier: Apache-2.0
// A shared object that is no plugin.
int mserve_test_number(void);

int mserve_test_number(void) {
  return 7;
}
