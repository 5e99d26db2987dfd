// SPDX-License-Identifier: Apache-2.0
// What a program built against this release relies on for ever, and what it gets for misuse. No
// broker is needed.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <thread>

#include "mserve.h"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

mserve_client_options nowhere(const TempDir& dir) {
  mserve_client_options options = MSERVE_CLIENT_OPTIONS_INIT;
  options.directory = dir.path().c_str();
  options.broker = "nobody";
  return options;
}

/// Options as a program has them that was built against a later release.
struct Later {
  mserve_client_options known;
  std::uint64_t added;
};

// A golden table: these numbers never change within one MSERVE_ABI_MAJOR.
TEST(Abi, MembersLieWhereTheyLayInTheFirstRelease) {
  EXPECT_EQ(mserve_abi_version() >> 16, 1U);
  EXPECT_EQ(sizeof(mserve_client_options), 104U);
  EXPECT_EQ(offsetof(mserve_client_options, broker), 8U);
  EXPECT_EQ(offsetof(mserve_client_options, idle), 48U);
  EXPECT_EQ(offsetof(mserve_client_options, message_bytes_max), 64U);
  EXPECT_EQ(offsetof(mserve_client_options, resend_ns_max), 96U);
  EXPECT_EQ(sizeof(mserve_send_options), 40U);
  EXPECT_EQ(offsetof(mserve_send_options, priority), 12U);
  EXPECT_EQ(offsetof(mserve_send_options, run_ns_max), 32U);
  EXPECT_EQ(sizeof(mserve_reply), 120U);
  EXPECT_EQ(offsetof(mserve_reply, payload), 16U);
  EXPECT_EQ(offsetof(mserve_reply, has_info), 40U);
  EXPECT_EQ(offsetof(mserve_reply, servant_name), 72U);
  EXPECT_EQ(offsetof(mserve_reply, info_object_bytes), 112U);
  EXPECT_EQ(sizeof(mserve_servant_options), 88U);
  EXPECT_EQ(offsetof(mserve_servant_options, tags), 48U);
  EXPECT_EQ(offsetof(mserve_servant_options, stop_ns_max), 80U);
  EXPECT_EQ(sizeof(mserve_request), 48U);
  EXPECT_EQ(offsetof(mserve_request, options_bytes), 40U);
}

TEST(Abi, EachStatusHasANameAndAdvice) {
  EXPECT_STREQ(mserve_status_name(MSERVE_NO_BROKER), "no broker");
  EXPECT_STREQ(mserve_status_name(MSERVE_RETIRED), "retired");
  for (const mserve_status odd : {-1, 999, 1 << 20}) {
    EXPECT_STREQ(mserve_status_name(odd), "unknown error");
    EXPECT_GT(std::strlen(mserve_status_advice(odd)), 0U);
  }
  EXPECT_GT(std::strlen(mserve_version()), 0U);
}

TEST(Abi, NullHandlesAndPointersAreInvalidAndNothingElse) {
  std::uint64_t id = 0;
  mserve_reply reply = MSERVE_REPLY_INIT;
  mserve_request request = MSERVE_REQUEST_INIT;
  EXPECT_EQ(mserve_client_connect(nullptr, nullptr), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_try_send(nullptr, "", 0, nullptr, &id), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_send(nullptr, "", 0, nullptr, 0, &id), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_poll(nullptr, &reply), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_wait(nullptr, 0), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_await(nullptr, 1, 0, &reply), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_call(nullptr, "", 0, nullptr, 0, &reply), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_cancel(nullptr, 1), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_reconnect(nullptr, 0), MSERVE_INVALID);
  EXPECT_EQ(mserve_client_attached(nullptr), 0);
  EXPECT_EQ(mserve_client_in_flight(nullptr), 0U);
  EXPECT_EQ(mserve_client_payload_bytes_max(nullptr), 0U);
  EXPECT_EQ(mserve_client_try_payload_bytes_max(nullptr), 0U);
  EXPECT_EQ(mserve_client_fd(nullptr), -1);
  EXPECT_EQ(mserve_client_prepare_sleep(nullptr), 0);
  mserve_client_finish_sleep(nullptr);
  mserve_client_disconnect(nullptr);
  mserve_client* no_client = nullptr;
  mserve_client_disconnect(&no_client);

  EXPECT_EQ(mserve_servant_attach(nullptr, nullptr), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_receive(nullptr, 0, &request), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply(nullptr, 1, "", 0, MSERVE_OPAQUE), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_reply_error(nullptr, 1, "x"), MSERVE_INVALID);
  EXPECT_EQ(mserve_servant_attached(nullptr), 0);
  mserve_servant_stop(nullptr);
  mserve_servant_detach(nullptr);
  mserve_servant* no_servant = nullptr;
  mserve_servant_detach(&no_servant);
  EXPECT_EQ(mserve_reply_error(nullptr, nullptr, 0), 0U);
  EXPECT_GT(std::strlen(mserve_last_error()), 0U);
}

TEST(Abi, AFailureLeavesNoHandleAndSaysWhatIsWrong) {
  const TempDir dir;
  mserve_client_options options = nowhere(dir);
  int unused = 0;
  auto* client = reinterpret_cast<mserve_client*>(&unused);
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_NO_BROKER);
  EXPECT_EQ(client, nullptr);
  EXPECT_NE(std::string(mserve_last_error()).find("no broker"), std::string::npos);
  options.broker = "no/such name";
  options.ring_bytes = 5;
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_INVALID);
  const std::string faults = mserve_last_error();
  EXPECT_NE(faults.find("broker:"), std::string::npos) << faults;
  EXPECT_NE(faults.find("ring_bytes:"), std::string::npos) << "each of them: " << faults;

  mserve_servant_options serving = MSERVE_SERVANT_OPTIONS_INIT;
  serving.credit = 0;
  auto* servant = reinterpret_cast<mserve_servant*>(&unused);
  EXPECT_EQ(mserve_servant_attach(&serving, &servant), MSERVE_INVALID);
  EXPECT_EQ(servant, nullptr);
  EXPECT_NE(std::string(mserve_last_error()).find("credit"), std::string::npos);
}

TEST(Abi, SizesThatCannotBeRightAreRefused) {
  const TempDir dir;
  mserve_client* client = nullptr;
  for (const std::uint32_t size : {0U, 4U, 103U, 5000U, UINT32_MAX}) {
    mserve_client_options options = nowhere(dir);
    options.size = size;
    EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_INVALID) << size;
    EXPECT_NE(std::string(mserve_last_error()).find("_INIT"), std::string::npos);
  }
  mserve_servant_options serving{};
  mserve_servant* servant = nullptr;
  EXPECT_EQ(mserve_servant_attach(&serving, &servant), MSERVE_INVALID);
}

TEST(Abi, ALaterProgramIsUnderstoodUnlessItAsksForMore) {
  const TempDir dir;
  mserve_client* client = nullptr;
  Later later{nowhere(dir), 0};
  later.known.size = sizeof later;
  EXPECT_EQ(mserve_client_connect(&later.known, &client), MSERVE_NO_BROKER);
  later.added = 1;
  EXPECT_EQ(mserve_client_connect(&later.known, &client), MSERVE_INVALID);
}

TEST(Abi, NumbersOutsideTheirListsAreRefused) {
  const TempDir dir;
  mserve_client* client = nullptr;
  mserve_client_options options = nowhere(dir);
  options.flags = 4;
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_INVALID);
  options = nowhere(dir);
  options.idle = 4;
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_INVALID);
  options = nowhere(dir);
  options.reserved = 1;
  EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_INVALID);
  mserve_servant* servant = nullptr;
  for (const char* group : {"two words", "a\tb"}) {
    mserve_servant_options serving = MSERVE_SERVANT_OPTIONS_INIT;
    serving.directory = dir.path().c_str();
    serving.group = group;
    EXPECT_EQ(mserve_servant_attach(&serving, &servant), MSERVE_INVALID) << group;
  }
}

TEST(Abi, EachThreadHasItsOwnLastError) {
  EXPECT_EQ(mserve_client_wait(nullptr, 0), MSERVE_INVALID);
  const std::string ours = mserve_last_error();
  std::thread other([] {
    EXPECT_STREQ(mserve_last_error(), "");
    const TempDir dir;
    const mserve_client_options options = nowhere(dir);
    mserve_client* client = nullptr;
    EXPECT_EQ(mserve_client_connect(&options, &client), MSERVE_NO_BROKER);
  });
  other.join();
  EXPECT_EQ(mserve_last_error(), ours);
}

TEST(Abi, ErrorTextsAreCutToTheBufferAndStopAtTheirEnd) {
  const char object[] = {static_cast<char>(0x80), 't', 'y', 'p', 'e', '\0', 'x'};
  mserve_reply reply = MSERVE_REPLY_INIT;
  EXPECT_EQ(mserve_reply_error(&reply, nullptr, 0), 0U);
  reply.status = MSERVE_FAILED;
  reply.payload = object;
  reply.payload_bytes = sizeof object;
  char text[16] = "before";
  EXPECT_EQ(mserve_reply_error(&reply, text, sizeof text), 4U);
  EXPECT_STREQ(text, "type");
  EXPECT_EQ(mserve_reply_error(&reply, text, 3), 4U);
  EXPECT_STREQ(text, "ty");
  reply.payload_bytes = 4;  // a servant that lies: no end mark
  EXPECT_EQ(mserve_reply_error(&reply, text, sizeof text), 3U);
  EXPECT_STREQ(text, "typ");
  reply.payload_bytes = 0;
  reply.status = MSERVE_BUSY;
  EXPECT_EQ(mserve_reply_error(&reply, text, sizeof text), 4U);
  EXPECT_STREQ(text, "busy");
}

}  // namespace
}  // namespace mserve::test
