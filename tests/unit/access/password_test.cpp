// SPDX-License-Identifier: Apache-2.0
#include "access/password.hpp"

#include <crypt.h>
#include <gtest/gtest.h>

namespace mserve::broker {
namespace {

using Kind = StoredPassword::Kind;

bool right(const std::string& password, const std::string& stored, bool plain = false) {
  const auto parsed = parse_password(stored, plain);
  return parsed && verify(Secret(password), *parsed);
}

// From other tools: printf %s ken | sha1sum, openssl passwd -6, mkpasswd.
constexpr const char* kSha1OfKen = "470bc578162732ac7f9d387d34c4af4ca6e1b6f7";
constexpr const char* kMd5OfSecret = "5ebe2294ecd0e0f08eab7690d2a6ee69";

TEST(Password, IsCheckedAgainstEachKindOfHash) {
  EXPECT_TRUE(right("ken", kSha1OfKen));
  EXPECT_TRUE(right("ken", "470BC578162732AC7F9D387D34C4AF4CA6E1B6F7"));
  EXPECT_TRUE(right("secret", kMd5OfSecret));
  EXPECT_FALSE(right("Ken", kSha1OfKen));
  EXPECT_FALSE(right("", kSha1OfKen));
  EXPECT_FALSE(right("ken\n", kSha1OfKen));
  EXPECT_FALSE(right(kSha1OfKen, kSha1OfKen));  // the hash is not the password
  EXPECT_FALSE(right("Secret", kMd5OfSecret));
}

TEST(Password, IsCheckedAgainstCryptStrings) {
  for (const char* const setting : {"$y$j75$0123456789abcdef", "$6$rounds=1000$saltsalt",
                                    "$5$rounds=1000$saltsalt", "$2b$04$0123456789abcdefghijkl"}) {
    crypt_data work{};
    const std::string stored = crypt_r("opensesame", setting, &work);
    ASSERT_NE(stored.front(), '*') << setting;
    ASSERT_EQ(parse_password(stored, false)->kind, Kind::crypt);
    EXPECT_TRUE(right("opensesame", stored)) << setting;
    EXPECT_FALSE(right("opensesamE", stored)) << setting;
    EXPECT_FALSE(right("", stored)) << setting;
    EXPECT_FALSE(right(std::string("opensesame\0", 11), stored)) << setting;
    EXPECT_FALSE(right(std::string(5000, 'x'), stored)) << setting;
    EXPECT_FALSE(right("opensesame", setting)) << "a setting without a hash lets nobody in";
  }
}

TEST(Password, IsPlainWhereThatIsAllowed) {
  EXPECT_TRUE(right("open sesame", "open sesame", true));
  EXPECT_TRUE(right("$ecret", "$ecret", true));
  EXPECT_FALSE(right("open", "open sesame", true));
  EXPECT_FALSE(right("open sesame!", "open sesame", true));
  EXPECT_TRUE(right("ken", kSha1OfKen, true));
  EXPECT_FALSE(parse_password("", true));
  for (const char* const hash : {"$argon2id$v=19$abc", "$9$abc$def", "$y $j75$0123"}) {
    EXPECT_FALSE(parse_password(hash, true)) << hash << " is a hash of no kind known here";
  }
  for (const char* const text :
       {"", "ken", "*", "!", "$ecret", "$y", "$9$abc$def", "$6",
        "470bc578162732ac7f9d387d34c4af4ca6e1b6fg", "470bc578162732ac7f9d387d34c4af4ca6e1b6f"}) {
    EXPECT_FALSE(parse_password(text, false)) << text;
  }
}

}  // namespace
}  // namespace mserve::broker
