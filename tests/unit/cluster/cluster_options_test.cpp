// SPDX-License-Identifier: Apache-2.0
#include "cluster/cluster_options.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "cluster/links.hpp"
#include "support/temp_dir.hpp"

namespace mserve::cluster {
namespace {

TEST(EtcdUrl, IsSchemeHostAndPort) {
  EXPECT_EQ(parse_etcd_url("http://127.0.0.1:2379"),
            (EtcdEndpoint{.host = "127.0.0.1", .port = "2379"}));
  EXPECT_EQ(parse_etcd_url("https://etcd-1.desk.example/"),
            (EtcdEndpoint{.tls = true, .host = "etcd-1.desk.example", .port = "2379"}));
  EXPECT_EQ(parse_etcd_url("http://[::1]:99"), (EtcdEndpoint{.host = "::1", .port = "99"}));
  EXPECT_EQ(parse_etcd_url("http://[::1]:99")->text(), "http://[::1]:99");
  for (const char* const wrong :
       {"", "127.0.0.1:2379", "ftp://a:1", "http://", "http://:2379", "http://a:", "http://a:0",
        "http://a:65536", "http://a:1x", "http://a b:1", "http://u:p@a:1", "http://a:1/path",
        "http://[::1", "http://[zz]:1", "http://-a:1", "http://a:000001"}) {
    EXPECT_EQ(parse_etcd_url(wrong), std::nullopt) << wrong;
  }
}

TEST(ClusterOptions, TellEachFault) {
  ClusterOptions good{.endpoints = {"http://a:1"}, .id = "x", .advertise = "a:5000"};
  std::vector<std::string> faults;
  good.validate(faults);
  EXPECT_TRUE(faults.empty()) << faults.front();
  const std::pair<std::function<void(ClusterOptions&)>, const char*> cases[] = {
      {[](auto& o) { o.endpoints = {"a:1"}; }, "--cluster: 'a:1' is not http://HOST:PORT"},
      {[](auto& o) { o.endpoints.assign(17, "http://a:1"); }, "--cluster: at most 16"},
      {[](auto& o) { o.name = "a/b"; }, "--cluster-name: 1 to 31"},
      {[](auto& o) { o.id = std::string(32, 'a'); }, "--cluster-id: 1 to 31"},
      {[](auto& o) { o.zone = "a b"; }, "--zone: 1 to 31"},
      {[](auto& o) { o.region = "\n"; }, "--region: 1 to 31"},
      {[](auto& o) { o.advertise = ""; }, "--advertise: HOST:PORT is needed"},
      {[](auto& o) { o.advertise = "a"; }, "--advertise: 'a' is not HOST:PORT"},
      {[](auto& o) { o.ttl_ns = 1; }, "--cluster-ttl: 1s to 1h"},
      {[](auto& o) { o.cert_file = "x"; }, "--cluster-cert, --cluster-key: both"},
      {[](auto& o) { o.ca_file = "x"; }, "--cluster-ca, --cluster-cert: only with https://"},
      {[](auto& o) { o.password_file = "x"; }, "--cluster-password-file: only with"}};
  for (const auto& [change, fault] : cases) {
    ClusterOptions bad = good;
    change(bad);
    faults.clear();
    bad.validate(faults);
    ASSERT_FALSE(faults.empty()) << fault;
    EXPECT_TRUE(faults[0].starts_with(fault)) << faults[0];
  }
}

TEST(ClusterOptions, WhatIsNotGivenFollowsFromTheBroker) {
  ClusterOptions options{.endpoints = {"http://a:1", "http://b:2"}};
  options.complete("prices", 5000);
  EXPECT_TRUE(options.id.ends_with("-prices")) << options.id;
  EXPECT_LE(default_id(std::string(64, 'x')).size(), kNameBytesMax);
  EXPECT_TRUE(options.advertise.ends_with(":5000")) << options.advertise;
  options.id = "a";
  options.advertise = "h:1";
  options.complete("prices", 5000);
  EXPECT_EQ(options.flags(),
            (std::vector<std::string>{"--cluster", "http://a:1,http://b:2", "--cluster-name",
                                      "default", "--cluster-id", "a", "--advertise", "h:1",
                                      "--cluster-ttl", "2000ms"}));
}

TEST(Secret, IsTheFirstLineOfAFileOfItsOwner) {
  const test::TempDir dir;
  const std::string path = dir.file("secret");
  const auto read = [&](const std::string& text, mode_t mode) {
    std::ofstream(path) << text;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    std::string fault;
    const std::string secret = read_secret(path, fault);
    EXPECT_EQ(secret.empty(), !fault.empty()) << fault;
    return secret + fault.substr(0, fault.empty() ? 0 : path.size());
  };
  EXPECT_EQ(read("s3cret \nmore\n", 0600), "s3cret ");
  EXPECT_EQ(read("x", 0400), "x");
  EXPECT_EQ(read("", 0600), path);
  EXPECT_EQ(read("\nx", 0600), path);
  EXPECT_EQ(read(std::string("a\0b", 3), 0600), path);
  EXPECT_EQ(read(std::string(5000, 'x'), 0600), path);
  EXPECT_EQ(read("x", 0640), path) << "others may read it";
  EXPECT_EQ(read("x", 0604), path);
  std::string fault;
  EXPECT_EQ(read_secret(dir.file("none"), fault), "");
  EXPECT_NE(fault.find("No such file"), std::string::npos) << fault;
}

TEST(LinkCommand, NamesBrokerPeerTierAndTags) {
  EXPECT_EQ(link_command({.shim = "/bin/shim", .broker = "b", .directory = "/run/m"}, "hostB-b",
                         {.address = "hostB:5000",
                          .tier = Nearness::region,
                          .tags = "peer=hostB-b x",
                          .credit = 16}),
            (std::vector<std::string>{"/bin/shim",
                                      "--peer",
                                      "--broker",
                                      "b",
                                      "--dir",
                                      "/run/m",
                                      "--q",
                                      "hostB:5000",
                                      "--servant-protocol",
                                      "lbt",
                                      "--credit",
                                      "16",
                                      "--tier",
                                      "2",
                                      "--name",
                                      "peer-hostB-b",
                                      "--tags",
                                      "peer=hostB-b x",
                                      "--stop-timeout",
                                      "3600"}));
  EXPECT_EQ(link_command({}, std::string(31, 'x'), {})[15].size(), 31U)
      << "as long as names may be";
}

}  // namespace
}  // namespace mserve::cluster
