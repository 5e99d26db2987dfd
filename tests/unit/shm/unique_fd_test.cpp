// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/unique_fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <type_traits>

namespace mserve::shm {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd> && !std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}
int open_null() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

TEST(UniqueFd, ClosesAtTheEndOfItsLife) {
  const int raw = open_null();
  { const UniqueFd fd(raw); }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, MoveLeavesNothingBehind) {
  UniqueFd a(open_null());
  const int raw = a.get();
  UniqueFd b(std::move(a));
  EXPECT_FALSE(static_cast<bool>(a));  // NOLINT(bugprone-use-after-move): what is left is the point
  EXPECT_EQ(b.get(), raw);
}

TEST(UniqueFd, MoveAssignmentClosesWhatItHeld) {
  UniqueFd a(open_null());
  UniqueFd b(open_null());
  const int replaced = a.get();
  const int kept = b.get();
  a = std::move(b);
  EXPECT_FALSE(is_open(replaced));
  EXPECT_TRUE(is_open(kept));
}

TEST(UniqueFd, ReleaseHandsOwnershipOver) {
  UniqueFd fd(open_null());
  const int raw = fd.release();
  EXPECT_FALSE(static_cast<bool>(fd));
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

}  // namespace
}  // namespace mserve::shm
