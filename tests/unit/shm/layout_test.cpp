// SPDX-License-Identifier: Apache-2.0
// The golden table of layout 1.0: what shm/README.md promises, byte by byte. A change here changes
// kLayoutMajor or kLayoutMinor in the same commit.
#include "mserve/shm/layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "mserve/shm/frame.hpp"

namespace mserve::shm {
namespace {

TEST(Layout, VersionIsTheOneThisTableDescribes) {
  EXPECT_EQ(kLayoutMajor, 1);
  EXPECT_EQ(kLayoutMinor, 0);
}

TEST(Layout, SegmentHeaderFieldsLieWhereTheReadmeSays) {
  EXPECT_EQ(offsetof(SegmentHeader, magic), 0U);
  EXPECT_EQ(offsetof(SegmentHeader, layout_major), 8U);
  EXPECT_EQ(offsetof(SegmentHeader, layout_minor), 10U);
  EXPECT_EQ(offsetof(SegmentHeader, header_bytes), 12U);
  EXPECT_EQ(offsetof(SegmentHeader, segment_bytes), 16U);
  EXPECT_EQ(offsetof(SegmentHeader, session), 24U);
  EXPECT_EQ(offsetof(SegmentHeader, broker_epoch), 32U);
  EXPECT_EQ(offsetof(SegmentHeader, ring_bytes), 40U);
  EXPECT_EQ(offsetof(SegmentHeader, control_bytes), 44U);
  EXPECT_EQ(offsetof(SegmentHeader, reserved), 48U);
  EXPECT_EQ(sizeof(SegmentHeader), 128U);
  std::array<char, 8> magic;
  std::memcpy(magic.data(), &kSegmentMagic, magic.size());
  EXPECT_EQ(std::string_view(magic.data(), magic.size()), "mssegnt1");
}

TEST(Layout, EachSharedWordHasAStrideOfItsOwn) {
  EXPECT_EQ(offsetof(SegmentFront, polled), 128U);
  EXPECT_EQ(offsetof(SegmentFront, consumer_pos), 256U);
  EXPECT_EQ(offsetof(SegmentFront, control_consumer_pos), 384U);
  EXPECT_EQ(offsetof(SegmentFront, producer_pos), 512U);
  EXPECT_EQ(offsetof(SegmentFront, sleep_word), 640U);
  EXPECT_EQ(kSegmentDataOffset, 4096U);
}

TEST(Layout, HeaderBytesAreTheDocumentedOnes) {
  FrameHeader h;
  h.frame_bytes = 0x04030201;
  h.kind = Kind::reply;
  h.flags = 0x05;
  h.ext_bytes = 0x0908;
  h.id = 0x1817161514131211;
  h.aux = 0x2827262524232221;
  std::array<unsigned char, 24> bytes;
  std::memcpy(bytes.data(), &h, bytes.size());
  const std::array<unsigned char, 24> golden{0x01, 0x02, 0x03, 0x04, 0x02, 0x05, 0x08, 0x09,
                                             0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
                                             0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28};
  EXPECT_EQ(bytes, golden);
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof(word));
  EXPECT_EQ(commit_word(h), word);
  const FrameHeader back = from_commit_word(word);
  EXPECT_EQ(back.frame_bytes, h.frame_bytes);
  EXPECT_EQ(back.kind, h.kind);
  EXPECT_EQ(back.flags, h.flags);
  EXPECT_EQ(back.ext_bytes, h.ext_bytes);
}

TEST(Layout, FortyBytesOfPayloadShareTheHeadersLine) {
  EXPECT_EQ(frame_stride(kFrameHeaderBytes + 40), kCacheLine);
  EXPECT_EQ(frame_stride(kFrameHeaderBytes + 41), 2 * kCacheLine);
}

TEST(Layout, KindsFlagsAndExtensionTypesKeepTheirNumbers) {
  EXPECT_EQ(static_cast<int>(Kind::request), 1);
  EXPECT_EQ(static_cast<int>(Kind::reply), 2);
  EXPECT_EQ(static_cast<int>(Kind::padding), 3);
  EXPECT_EQ(static_cast<int>(Kind::abort), 4);
  EXPECT_EQ(static_cast<int>(Kind::cancel), 5);
  EXPECT_EQ(static_cast<int>(Kind::window), 6);
  EXPECT_EQ(static_cast<int>(Kind::gone), 7);
  EXPECT_EQ(kFlagOpaque, 1);
  EXPECT_EQ(kFlagWantInfo, 2);
  EXPECT_EQ(kFlagRepeatable, 4);
  EXPECT_EQ(kFlagPair, 8);
  EXPECT_EQ(static_cast<int>(ExtType::origin), 1);
  EXPECT_EQ(static_cast<int>(ExtType::flow), 2);
  EXPECT_EQ(static_cast<int>(ExtType::info), 3);
  EXPECT_EQ(sizeof(FlowExt), 16U);
  EXPECT_EQ(sizeof(InfoExt), 56U);
}

TEST(Layout, RingStartsAreColouredOverTheCacheSets) {
  std::array<bool, 256> used{};
  for (std::uint32_t session = 0; session < 256; ++session) {
    const std::uint64_t start = ring_start(session);
    ASSERT_EQ(start % kCacheLine, 0U);
    ASSERT_LT(start / kCacheLine, used.size());
    used[start / kCacheLine] = true;
  }
  const auto sets = std::count(used.begin(), used.end(), true);
  EXPECT_GT(sets, 128) << "too many sessions share a set";
}

TEST(Extensions, UnknownTypesAreSkippedAndKnownOnesFound) {
  std::array<std::byte, 64> bytes{};
  std::byte* end = put_extension(bytes.data(), static_cast<ExtType>(999), 7, std::uint64_t{1});
  end = put_extension(end, ExtType::flow, 0, FlowExt{5, 10});
  end = put_extension(end, ExtType::origin, 3, std::uint64_t{44});
  Extensions out;
  ASSERT_TRUE(parse_extensions({bytes.data(), static_cast<std::size_t>(end - bytes.data())}, out));
  EXPECT_TRUE(out.has_flow);
  EXPECT_EQ(out.flow.offset, 5U);
  EXPECT_EQ(out.flow.total_bytes, 10U);
  EXPECT_EQ(out.origin_index, 3U);
  EXPECT_EQ(out.origin_generation, 44U);
}

TEST(Extensions, WhatAsksToStayHereSaysSo) {
  RequestTerms terms;
  terms.here = true;
  EXPECT_FALSE(terms.empty());
  terms.priority = 2;
  std::array<std::byte, RequestTerms::kBytesMax> bytes{};
  const std::byte* const end = terms.put(bytes.data());
  Extensions out;
  ASSERT_TRUE(parse_extensions({bytes.data(), static_cast<std::size_t>(end - bytes.data())}, out));
  EXPECT_TRUE(out.here);
  EXPECT_EQ(out.priority, 2);
  EXPECT_FALSE(out.vouched);
}

TEST(Extensions, WhatALinkIsToldHasPriorityAndVouchedBesideTheTime) {
  std::array<std::byte, ext_bytes_of(sizeof(DeadlineExt))> bytes{};
  for (const std::uint32_t priority : {0U, 3U, 200U}) {
    (void)put_extension(bytes.data(), ExtType::deadline, (priority + 1) | kDeadlineVouched,
                        DeadlineExt{5, 7});
    Extensions out;
    ASSERT_TRUE(parse_extensions(bytes, out));
    EXPECT_TRUE(out.vouched);
    EXPECT_FALSE(out.here);
    EXPECT_EQ(out.priority, std::min<std::uint32_t>(priority, kPriorityMax));
    EXPECT_EQ(out.deadline.run_ns, 7U);
  }
  (void)put_extension(bytes.data(), ExtType::deadline, 0, DeadlineExt{5, 7});
  Extensions out;
  ASSERT_TRUE(parse_extensions(bytes, out));
  EXPECT_FALSE(out.vouched);
  EXPECT_EQ(out.priority, kPriorityDefault);
}

TEST(Extensions, LengthsThatLieAreRefused) {
  for (const int lie : {0, 4, 7, 12, 40, 65535}) {
    std::array<std::byte, 24> bytes{};
    const ExtHeader header{ExtType::flow, static_cast<std::uint16_t>(lie), 0};
    std::memcpy(bytes.data(), &header, sizeof(header));
    Extensions out;
    EXPECT_FALSE(parse_extensions(bytes, out)) << lie;
  }
}

TEST(Extensions, KnownTypeThatIsTooShortIsRefused) {
  std::array<std::byte, 16> bytes{};
  (void)put_extension(bytes.data(), ExtType::flow, 0, std::uint64_t{1});
  Extensions out;
  EXPECT_FALSE(parse_extensions(bytes, out));
}

}  // namespace
}  // namespace mserve::shm
