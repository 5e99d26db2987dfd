// SPDX-License-Identifier: Apache-2.0
#include "gateway/query_log.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/shm/names.hpp"
#include "wall_clock.hpp"

namespace mserve::broker {

void note_query(std::span<const std::byte> query, QueryHead& head) noexcept {
  constexpr std::string_view kArguments = "[...]";
  head = {};
  std::string_view text;
  bool call = false;
  if (auto list = kdb::ListReader::open(query)) {
    const std::optional<kdb::Element> first = list->next();
    text = first ? first->text() : text;
    call = !text.empty();
  } else if (!query.empty()) {
    text = kdb::text_of(query);
  }
  text = text.substr(0, head.size() - 1 - (call ? kArguments.size() : 0));
  auto* const end = std::transform(text.begin(), text.end(), head.begin(),
                                   [](char c) { return shm::is_printable(c) ? c : ' '; });
  if (call) {
    std::copy(kArguments.begin(), kArguments.end(), end);
  }
}

std::vector<QueryRecord> QueryLog::last(std::size_t count, std::uint64_t now_ns) const {
  const std::size_t kept = std::min(count_ - purged_, records_.size());
  std::vector<QueryRecord> found;
  for (std::size_t i = count_ - std::min({count, kept, most_}); i < count_; ++i) {
    const QueryRecord& record = records_[i % records_.size()];
    if (!expired(record, now_ns)) {
      found.push_back(record);
    }
  }
  return found;
}

void QueryLog::purge(std::uint64_t now_ns) noexcept {
  constexpr std::size_t kPerCall = 1024;
  purged_ = std::max(purged_, count_ - std::min(count_, records_.size()));
  for (std::size_t i = 0; i < kPerCall && purged_ < count_; ++i) {
    QueryRecord& oldest = records_[purged_ % records_.size()];
    if (!expired(oldest, now_ns)) {
      return;
    }
    oldest = QueryRecord{};
    ++purged_;
  }
}

std::int64_t timestamp_now() noexcept {
  return wall_now() - kdb::kEpochUnixSeconds * 1'000'000'000;
}

}  // namespace mserve::broker
