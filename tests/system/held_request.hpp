// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "support/raw_peer.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {

/// A servant by hand that holds a request, and a client that waits for it.
class HeldRequest : public ::testing::Test {
 protected:
  HeldRequest() : servant_(raw_servant(broker_, "held")), client_(broker_.client()) {
    broker_.wait_for_counter("servants", 1);
    id_ = send_opaque(client_, pattern(10));
    const auto frame = servant_.take();
    held_ = frame ? frame->header.id : 0;
  }
  /// `mserve-stat ctl VERB all`, which waits.
  [[nodiscard]] Process begin(const std::string& verb) {
    Spawn spawn;
    spawn.argv = {program("mserve-stat"), "ctl", verb, "all"};
    spawn.env = broker_.env();
    spawn.stdout_path = dir_.file("out");
    spawn.stderr_path = dir_.file("err");
    Process process(spawn);
    wait_for_state(broker_, "held", "draining");
    return process;
  }
  void answer() { EXPECT_TRUE(servant_.reply(held_, pattern(10))); }

  TempDir dir_;
  Broker broker_;
  RawPeer servant_;
  Client client_;
  std::uint64_t id_ = 0;
  std::uint64_t held_ = 0;
};

}  // namespace mserve::test
