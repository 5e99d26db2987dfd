// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/skip.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;
using Bytes = std::vector<std::byte>;

TEST(Skip, FindsTheEndOfEverySampleAndValidateTellsItsType) {
  for (const Value& value : mserve::test::all_samples()) {
    Bytes bytes = encode(value);
    EXPECT_EQ(*validate(bytes), value.type_code());
    const std::size_t size = bytes.size();
    bytes.resize(size + 3, std::byte{0x77});
    EXPECT_EQ(*skip(bytes), size);
    EXPECT_EQ(validate(bytes).error().code, Errc::trailing_bytes);
    EXPECT_EQ(validate(bytes).error().offset, size);
  }
}

TEST(Skip, SwapsEverySampleIntoItsBigEndianForm) {
  for (const Value& value : mserve::test::all_samples()) {
    Bytes bytes = encode(value);
    ASSERT_TRUE(swap_byte_order(bytes, ByteOrder::little).ok());
    EXPECT_EQ(bytes, encode(value, ByteOrder::big));
  }
}

TEST(Skip, ErrorsAreAcceptedAtTheTopOnly) {
  EXPECT_EQ(*skip(bytes_of({0x80, 'x', 0})), 3U);
  EXPECT_EQ(skip(bytes_of({0, 0, 1, 0, 0, 0, 0x80, 'x', 0})).error(),
            (Error{Errc::nested_error, 6}));
}

TEST(ListReader, WalksAGeneralList) {
  const Bytes bytes =
      encode(Value::list({Value::symbol("f"), Value::longs({1, 2}), Value::symbol("x")}));
  Result<ListReader> reader = ListReader::open(bytes);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->count(), 3U);
  std::vector<int> types;
  std::size_t total = 6;
  while (const std::optional<Element> element = reader->next()) {
    types.push_back(element->type);
    total += element->bytes.size();
    EXPECT_TRUE(validate(element->bytes).ok());
  }
  EXPECT_EQ(reader->error().code, Errc::ok);
  EXPECT_EQ(types, (std::vector<int>{-11, 7, -11}));
  EXPECT_EQ(total, bytes.size());
}

TEST(ListReader, WalksASymbolVectorAsItsBareTexts) {
  const Bytes bytes = encode(Value::symbols({"f", "IBM"}));
  Result<ListReader> reader = ListReader::open(bytes);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE(reader->next().has_value());
  const std::optional<Element> element = reader->next();
  ASSERT_TRUE(element.has_value());
  EXPECT_EQ(element->type, -11);
  EXPECT_EQ(element->bytes.size(), 4U);
  EXPECT_FALSE(reader->next().has_value());
  EXPECT_EQ(reader->remaining(), 0U);
}

TEST(ListReader, StopsWithAnErrorAtABrokenElement) {
  const Bytes bytes = bytes_of({0, 0, 2, 0, 0, 0, 0xff, 1, 3, 0});
  Result<ListReader> reader = ListReader::open(bytes);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(reader->next().has_value());
  EXPECT_FALSE(reader->next().has_value());
  EXPECT_EQ(reader->error(), (Error{Errc::bad_type, 8}));
  EXPECT_FALSE(reader->next().has_value());
}

TEST(ListReader, RefusesErrorsAsElementsAndUnterminatedSymbols) {
  const Bytes list_bytes = bytes_of({0, 0, 1, 0, 0, 0, 0x80, 'x', 0});
  Result<ListReader> list = ListReader::open(list_bytes);
  EXPECT_FALSE(list->next().has_value());
  EXPECT_EQ(list->error().code, Errc::nested_error);
  const Bytes symbol_bytes = bytes_of({11, 0, 1, 0, 0, 0, 'x'});
  Result<ListReader> symbols = ListReader::open(symbol_bytes);
  EXPECT_FALSE(symbols->next().has_value());
  EXPECT_EQ(symbols->error().code, Errc::truncated);
}

TEST(ListReader, OpensOnlyListsAndSymbolVectorsOfPossibleCounts) {
  EXPECT_EQ(ListReader::open({}).error().code, Errc::truncated);
  EXPECT_EQ(ListReader::open(bytes_of({7, 0, 0, 0, 0, 0})).error().code, Errc::bad_type);
  EXPECT_EQ(ListReader::open(bytes_of({0, 0, 1, 0})).error().code, Errc::truncated);
  EXPECT_EQ(ListReader::open(bytes_of({0, 0, 1, 0, 0, 0})).error().code, Errc::bad_count);
  EXPECT_EQ(ListReader::open(bytes_of({0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 1}))->count(), 1U);
}

}  // namespace
