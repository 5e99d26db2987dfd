// SPDX-License-Identifier: Apache-2.0
// Drains whose asker, or whose broker, loses patience.
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "system/held_request.hpp"

namespace mserve::test {
namespace {

using ImpatientDrain = HeldRequest;

// It used to leave the servant paused without a word.
TEST_F(ImpatientDrain, WhoeverEndsADrainIsToldWhatItLeavesAndHowToUndoThat) {
  const std::string undo = "mserve-stat --name " + broker_.name() + " ctl resume all\n";
  for (const int signal : {SIGINT, SIGTERM}) {
    Process drain = begin("drain");
    drain.signal(signal);
    EXPECT_EQ(drain.wait(), 128 + signal);
    const std::string said = read_file(dir_.file("err"));
    EXPECT_NE(said.find("all stays paused"), std::string::npos) << said;
    EXPECT_NE(said.find(undo), std::string::npos) << said;
    wait_for_state(broker_, "held", "paused");
  }
  const Output late = stat(broker_, {"ctl", "drain", "all", "--timeout", "0"});
  EXPECT_NE(late.err.find(undo), std::string::npos) << late.err;
  ctl(broker_, "resume", "all");
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
}

// It used to wait without a word for a broker that had been stopped meanwhile.
TEST_F(ImpatientDrain, ADrainSaysWhenItsBrokerDoesNotAnswerAnyMore) {
  Process drain = begin("drain");
  stop(broker_.pid());
  EXPECT_TRUE(wait_until(
      [&] { return read_file(dir_.file("err")).find("does not answer") != std::string::npos; },
      "the drain to complain"));
  EXPECT_FALSE(drain.ended());
  ::kill(broker_.pid(), SIGCONT);
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(drain.wait(), 0);
}

}  // namespace
}  // namespace mserve::test
