// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/membarrier.hpp"

#include <gtest/gtest.h>

namespace mserve::shm {
namespace {

TEST(Membarrier, IsRegisteredAndExecutedWhereTheKernelOffersIt) {
  if (!membarrier_available()) {
    GTEST_SKIP() << "this kernel offers no MEMBARRIER_CMD_GLOBAL_EXPEDITED";
  }
  EXPECT_NE(membarrier_query().value(), 0);
  EXPECT_TRUE(membarrier_global_expedited()) << "the caller needs no registration";
  EXPECT_EQ(membarrier_register_global_expedited().code, Errc::ok);
  EXPECT_EQ(membarrier_register_global_expedited().code, Errc::ok) << "again is harmless";
  EXPECT_TRUE(membarrier_global_expedited());
}

}  // namespace
}  // namespace mserve::shm
