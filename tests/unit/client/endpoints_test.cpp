// SPDX-License-Identifier: Apache-2.0
#include "lib/endpoints.hpp"

#include <gtest/gtest.h>

namespace mserve {
namespace {

Endpoints must_parse(std::string_view text) {
  Endpoints endpoints;
  EXPECT_EQ(parse_endpoints(text, endpoints), "") << text;
  return endpoints;
}

TEST(Endpoints, ANameAloneIsLocal) {
  const Endpoints endpoints = must_parse("prod-1.a");
  EXPECT_EQ(endpoints.local, "prod-1.a");
  EXPECT_TRUE(endpoints.remote.empty());
}

TEST(Endpoints, TcpEndpointsKeepTheirOrder) {
  const Endpoints endpoints =
      must_parse("tcp://one:5000,two.example.com:5001,tcp://10.0.0.3:65535");
  EXPECT_TRUE(endpoints.local.empty());
  ASSERT_EQ(endpoints.remote.size(), 3U);
  EXPECT_EQ(endpoints.remote[0].host, "one");
  EXPECT_EQ(endpoints.remote[0].port, 5000);
  EXPECT_FALSE(endpoints.remote[0].has_user);
  EXPECT_EQ(endpoints.remote[1].text, "tcp://two.example.com:5001");
  EXPECT_EQ(endpoints.remote[2].port, 65535);
}

TEST(Endpoints, ANameMayStandInFrontOfTcpEndpoints) {
  const Endpoints endpoints = must_parse("default,tcp://one:5000,two:5000");
  EXPECT_EQ(endpoints.local, "default");
  EXPECT_EQ(endpoints.remote.size(), 2U);
}

TEST(Endpoints, Ipv6AddressesStandInBrackets) {
  const Endpoints endpoints = must_parse("tcp://[::1]:5000,[fe80::1%eth0]:5001");
  EXPECT_EQ(endpoints.remote[0].host, "::1");
  EXPECT_EQ(endpoints.remote[0].text, "tcp://[::1]:5000");
  EXPECT_EQ(endpoints.remote[1].host, "fe80::1%eth0");
}

TEST(Endpoints, CredentialsHoldForWhatFollowsUntilOthersAreGiven) {
  const Endpoints endpoints = must_parse("tcp://a:1,joe:secret@b:1,c:1,ann@d:1");
  EXPECT_FALSE(endpoints.remote[0].has_user);
  EXPECT_EQ(endpoints.remote[1].user, "joe");
  EXPECT_EQ(endpoints.remote[1].password, "secret");
  EXPECT_EQ(endpoints.remote[2].user, "joe");
  EXPECT_EQ(endpoints.remote[2].password, "secret");
  EXPECT_EQ(endpoints.remote[3].user, "ann");
  EXPECT_EQ(endpoints.remote[3].password, "");
  for (const TcpEndpoint& endpoint : endpoints.remote) {
    EXPECT_EQ(endpoint.text.find("secret"), std::string::npos) << "shown to people";
    EXPECT_EQ(endpoint.text.find('@'), std::string::npos);
  }
}

TEST(Endpoints, PercentStandsForAByteInCredentials) {
  const Endpoints endpoints = must_parse("tcp://a%2cb:p%40%3A%25@host:1");
  EXPECT_EQ(endpoints.remote[0].user, "a,b");
  EXPECT_EQ(endpoints.remote[0].password, "p@:%");
}

TEST(Endpoints, EverythingElseIsRefusedWithASentence) {
  for (const char* text : {"",
                           ",",
                           "one,two",
                           "one,",
                           "tcp://",
                           "tcp://host",
                           "tcp://host:",
                           "tcp://host:0",
                           "tcp://host:65536",
                           "tcp://host:50x",
                           "tcp://host:-1",
                           "tcp://:5000",
                           "tcp://ho st:5000",
                           "tcp://host:5000,",
                           "tcp://host:5000,name",
                           "tcp://::1:5000",
                           "tcp://[::1]5000",
                           "tcp://[]:5000",
                           "tcp://[::1:5000",
                           "udp://host:5000",
                           "tcp://a%zz@host:1",
                           "tcp://a%2@host:1",
                           "tcp://a:b%00@host:1",
                           "tcp://a%3ab@host:1",
                           ".dot,tcp://host:1",
                           "tcp://host:5000,unix://x:1"}) {
    Endpoints endpoints;
    const std::string fault = parse_endpoints(text, endpoints);
    EXPECT_TRUE(fault.starts_with("broker: ")) << text << ": " << fault;
    EXPECT_TRUE(fault.ends_with(".")) << text;
  }
}

TEST(Endpoints, AFaultNeverNamesAPassword) {
  Endpoints endpoints;
  EXPECT_EQ(parse_endpoints("tcp://joe:secret%@host:1", endpoints).find("secret"),
            std::string::npos);
  EXPECT_EQ(parse_endpoints("tcp://joe:secret@host", endpoints).find("secret"), std::string::npos);
}

TEST(Endpoints, TheListIsBounded) {
  std::string text = "tcp://h:1";
  for (std::size_t i = 1; i < kEndpointsMax; ++i) {
    text += ",h:1";
  }
  EXPECT_EQ(must_parse(text).remote.size(), kEndpointsMax);
  Endpoints endpoints;
  EXPECT_NE(parse_endpoints(text + ",h:1", endpoints), "");
}

}  // namespace
}  // namespace mserve
