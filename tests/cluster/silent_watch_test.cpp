// SPDX-License-Identifier: Apache-2.0
// A watch of a real etcd that tells nothing any more while its connection stands.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "cluster/broker_record.hpp"
#include "cluster/etcd_process.hpp"
#include "cluster/membership.hpp"
#include "cluster/watch_proxy.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

TEST(SilentWatch, WhatItDoesNotTellIsListed) {
  if (!etcd_is_here()) {
    GTEST_SKIP() << "etcd and etcdctl are not on PATH: install etcd-server and etcd-client";
  }
  Etcd etcd;
  WatchProxy proxy(etcd.port());
  etcd.put(cluster::broker_key("default", "b"), "{}");
  boost::asio::io_context context{1};
  cluster::Listing last;
  cluster::Membership member(
      context,
      {.endpoints = {proxy.url()}, .id = "me", .advertise = "h:1", .ttl_ns = 120'000'000'000}, "",
      nullptr,
      {.listed = [&](const cluster::Listing& all) { last = all; },
       .changed = [](const cluster::WatchEvent&) {},
       .status = [] {},
       .contested = [](const cluster::KeyValue&) {}},
      {.call_ns = 60'000'000'000, .check_ns = 50'000'000, .late_ns = 50'000'000});
  member.start();
  member.publish("mine");
  const auto run_until = [&](const std::function<bool()>& condition, const std::string& what) {
    EXPECT_TRUE(wait_until(
        [&] {
          (void)context.run_one_for(std::chrono::milliseconds(10));
          return condition();
        },
        what));
  };
  const auto lists = [&last](const std::string& id) {
    return std::any_of(last.all.begin(), last.all.end(), [&id](const cluster::KeyValue& kv) {
      return kv.key == cluster::broker_key("default", id);
    });
  };
  run_until([&] { return lists("b") && proxy.watches() >= 1; }, "listing and watch");
  EXPECT_FALSE(lists("c"));
  proxy.freeze_watches();
  etcd.put(cluster::broker_key("default", "c"), "{}");
  run_until([&] { return lists("c") && proxy.watches() >= 2; }, "the key and another watch");
  proxy.freeze_watches();
  etcd.remove(cluster::broker_key("default", "b"));
  run_until([&] { return !lists("b"); }, "the key to be gone");
  EXPECT_GE(member.status().silences, 2U);
  EXPECT_EQ(member.status().fault, "");
}

}  // namespace
}  // namespace mserve::test
