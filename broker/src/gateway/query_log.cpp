// SPDX-License-Identifier: Apache-2.0
#include "gateway/query_log.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string_view>

#include "mserve/kdb/types.hpp"

namespace mserve::broker {

namespace {

/// The characters of an encoded char vector or symbol, as far as they are there.
std::string_view text_in(std::span<const std::byte> object) noexcept {
  const std::string_view bytes(reinterpret_cast<const char*>(object.data()), object.size());
  constexpr std::size_t kVectorHead = 6;  // type, attribute, length
  if (bytes.size() > kVectorHead && bytes[0] == static_cast<char>(kdb::Type::character)) {
    std::int32_t count = 0;
    std::memcpy(&count, bytes.data() + 2, sizeof(count));
    return bytes.substr(kVectorHead, static_cast<std::size_t>(std::max(count, 0)));
  }
  if (!bytes.empty() && bytes[0] == -static_cast<char>(kdb::Type::symbol)) {
    return bytes.substr(1, bytes.find('\0', 1) - 1);
  }
  return {};
}

}  // namespace

void note_query(std::span<const std::byte> query, QueryHead& head) noexcept {
  head = {};
  constexpr std::size_t kListHead = 6;
  const bool call = query.size() > kListHead && query[0] == std::byte{0};
  const std::string_view text = text_in(call ? query.subspan(kListHead) : query);
  constexpr std::string_view kArguments = "[...]";
  const std::size_t room = head.size() - 1 - (call ? kArguments.size() : 0);
  auto* const end = std::transform(
      text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), room)),
      head.begin(), [](char c) { return c >= ' ' && c <= '~' ? c : ' '; });
  if (call && !text.empty()) {
    std::copy(kArguments.begin(), kArguments.end(), end);
  }
}

std::vector<QueryRecord> QueryLog::last(std::size_t count) const {
  const std::size_t wanted = std::min({count, count_, kRecords});
  std::vector<QueryRecord> found;
  found.reserve(wanted);
  for (std::size_t i = count_ - wanted; i < count_; ++i) {
    found.push_back(records_[i % kRecords]);
  }
  return found;
}

std::int64_t timestamp_now() noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (static_cast<std::int64_t>(now.tv_sec) - kdb::kEpochUnixSeconds) * 1'000'000'000 +
         now.tv_nsec;
}

}  // namespace mserve::broker
