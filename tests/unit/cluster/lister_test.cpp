// SPDX-License-Identifier: Apache-2.0
#include "cluster/lister.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "cluster/base64.hpp"
#include "cluster/broker_record.hpp"

namespace mserve::cluster {
namespace {

namespace json = boost::json;

/// A store that answers as etcd does.
class Listed : public ::testing::Test {
 protected:
  std::string answer(const std::string& body) {
    ++asked_;
    const json::value root = json::parse(body);
    const auto field = [&root](const char* key) {
      return *from_base64(root.at(key).as_string(), kAnswerBytesMax);
    };
    EXPECT_EQ(root.at("revision").as_string(), answered_ ? "9" : "0") << "all as of one moment";
    const std::size_t limit = std::stoul(root.at("limit").as_string().c_str());
    const auto end = keys_.lower_bound(field("range_end"));
    auto at = keys_.lower_bound(field("key"));
    const auto count = std::distance(at, end);
    std::string kvs;
    std::size_t told = 0;
    std::size_t bytes = 0;
    for (; at != end && told < limit; ++at, ++told) {
      const std::string_view value =
          root.at("keys_only").as_bool() ? std::string_view() : std::string_view(at->second);
      bytes += value.size() / 3 * 4;
      if (bytes > kAnswerBytesMax) {
        return "";
      }
      kvs += std::string(kvs.empty() ? "" : ",") + R"({"key":")" + to_base64(at->first) +
             R"(","mod_revision":"5","value":")" + to_base64(value) + R"("})";
    }
    answered_ = true;
    return R"({"header":{"revision":"9"},"kvs":[)" + kvs + R"(],"more":)" +
           (at != end ? "true" : "false") + R"(,"count":")" + std::to_string(count) + R"("})";
  }
  Listing list(std::size_t page_keys = Lister::kPageKeys) {
    Lister lister("c", page_keys);
    std::string fault;
    Lister::Step step = Lister::Step::more;
    answered_ = false;
    for (asked_ = 0; step == Lister::Step::more && asked_ < 10'000;) {
      step = lister.take(answer(lister.request()), fault);
    }
    EXPECT_EQ(step, Lister::Step::done) << fault;
    return lister.all();
  }
  static const KeyValue* found(const Listing& listing, const std::string& key) {
    const auto at = std::find_if(listing.all.begin(), listing.all.end(),
                                 [&key](const KeyValue& kv) { return kv.key == key; });
    return at != listing.all.end() ? &*at : nullptr;
  }

  std::map<std::string, std::string> keys_;
  int asked_ = 0;
  bool answered_ = false;
};

TEST_F(Listed, IsEveryBrokerAndTheDocument) {
  EXPECT_EQ(list().count, 0);
  for (int i = 0; i < 300; ++i) {
    keys_[broker_key("c", std::to_string(i))] = std::to_string(i);
  }
  keys_[document_key("c")] = "d";
  keys_[broker_key("d", "other")] = "x";
  const Listing all = list();
  EXPECT_EQ(all.all.size(), 301U);
  EXPECT_EQ(all.count, 301);
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.revision, 9);
  EXPECT_EQ(asked_, 4) << "the document, and three pages";
  ASSERT_NE(found(all, broker_key("c", "299")), nullptr);
  EXPECT_EQ(found(all, broker_key("c", "299"))->value, "299");
}

// More than that may take longer than a call may.
TEST_F(Listed, NoPageHoldsMoreThanItIsTold) {
  for (int i = 0; i < 12; ++i) {
    keys_[broker_key("c", std::to_string(i))] = "x";
  }
  EXPECT_EQ(list(4).all.size(), 12U);
  EXPECT_EQ(asked_, 4) << "the document, and three pages";
}

// Behind 1,024 other keys it was not seen any more.
TEST_F(Listed, HasTheDocumentHoweverManyKeysThereAre) {
  for (int i = 0; i < 2000; ++i) {
    keys_[broker_key("c", std::to_string(i))] = "x";
  }
  keys_[document_key("c")] = "d";
  const Listing all = list();
  ASSERT_NE(found(all, document_key("c")), nullptr);
  EXPECT_TRUE(all.more);
  EXPECT_EQ(all.count, 2001);
  EXPECT_EQ(all.left_out(), 2001U - 1 - kKeysMax);
}

// A listing with them was longer than an answer may be, and no other was ever asked for.
TEST_F(Listed, HugeValuesHideNobodyElse) {
  for (int i = 0; i < 6; ++i) {
    keys_[broker_key("c", "b" + std::to_string(i))] = std::string(1'500'000, 'x');
  }
  keys_[broker_key("c", "a")] = "a";
  keys_[broker_key("c", "larger")] = std::string(kAnswerBytesMax, 'x');
  keys_[broker_key("c", "z")] = "z";
  keys_[document_key("c")] = "d";
  const Listing all = list();
  EXPECT_EQ(all.all.size(), 10U);
  for (const char* const id : {"a", "z"}) {
    ASSERT_NE(found(all, broker_key("c", id)), nullptr);
    EXPECT_EQ(found(all, broker_key("c", id))->value, id);
  }
  ASSERT_NE(found(all, broker_key("c", "larger")), nullptr) << "it is there, whatever is in it";
  EXPECT_EQ(found(all, broker_key("c", "larger"))->value, "");
  keys_[document_key("c")] = std::string(kAnswerBytesMax, 'x');
  ASSERT_NE(found(list(), document_key("c")), nullptr);
}

TEST_F(Listed, LongKeysArePassedOver) {
  for (int i = 0; i < 200; ++i) {
    keys_[broker_key("c", std::string(1000, 'k') + std::to_string(1000 + i))] = "x";
  }
  keys_[broker_key("c", "z")] = "z";
  const Listing all = list();
  EXPECT_EQ(all.skipped, 200U);
  ASSERT_EQ(all.all.size(), 1U);
  EXPECT_EQ(all.all[0].key, broker_key("c", "z"));
}

TEST(Lister, EndsWhateverItIsAnswered) {
  const std::string more =
      R"({"header":{"revision":"9"},"more":true,"kvs":[{"mod_revision":"1","key":")";
  for (const std::string& key : {std::string("a"), broker_key("c", "a"), std::string("zzzz")}) {
    Lister lister("c");
    std::string fault;
    Lister::Step step = Lister::Step::more;
    int asked = 0;
    for (; step == Lister::Step::more && asked < 10'000; ++asked) {
      step = lister.take(more + to_base64(key) + R"("}]})", fault);
    }
    EXPECT_NE(step, Lister::Step::more) << key;
  }
  Lister never("c");
  std::string fault;
  EXPECT_EQ(never.take("", fault), Lister::Step::more);
  EXPECT_EQ(never.take("", fault), Lister::Step::failed);
  EXPECT_EQ(fault, "a key is longer than 8 MiB");
}

}  // namespace
}  // namespace mserve::cluster
