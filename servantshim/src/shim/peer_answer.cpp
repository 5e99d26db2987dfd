// SPDX-License-Identifier: Apache-2.0
#include "shim/peer_answer.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::shim {

namespace {

constexpr std::string_view kStatusKey = "mserve_status";
constexpr std::string_view kErrorPrefix = "Error: ";
/// An info is a few dozen bytes, and what a servant adds.
constexpr std::size_t kInfoBytesMax = std::size_t{1} << 20;

struct Renamed {
  std::string_view from;
  std::string_view to;  ///< Empty: left out.
};
constexpr std::array<Renamed, 7> kRenamed = {{{"qsvr", "peer_qsvr"},
                                              {"elapsed", "peer_elapsed"},
                                              {"execution", "peer_execution"},
                                              {"route", ""},
                                              {"backlog", ""},
                                              {"remaining", ""},
                                              {kStatusKey, ""}}};

std::string_view name_here(std::string_view key) noexcept {
  const auto* const found = std::find_if(kRenamed.begin(), kRenamed.end(),
                                         [key](const Renamed& r) { return r.from == key; });
  return found == kRenamed.end() ? key : found->to;
}

std::vector<std::byte> info_here(const kdb::Value& info) {
  std::vector<std::string> keys;
  std::vector<kdb::Value> values;
  const std::span<const std::string> theirs = info.keys().items<std::string>();
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    if (const std::string_view key = name_here(theirs[i]); !key.empty()) {
      keys.emplace_back(key);
      values.push_back(info.values().at(i));
    }
  }
  return kdb::encode(
      kdb::Value::dict(kdb::Value::symbols(std::move(keys)), kdb::Value::list(std::move(values))));
}

}  // namespace

std::optional<PeerAnswer> read_peer_answer(std::span<const std::byte> result,
                                           std::span<const std::byte> info) {
  if (info.size() > kInfoBytesMax) {
    return std::nullopt;
  }
  const kdb::Result<kdb::Value> told = kdb::decode(info);
  if (!told || !told->is_dict() || !told->values().is_list()) {
    return std::nullopt;
  }
  const std::optional<kdb::Value> status = told->find(kStatusKey);
  const std::int64_t* const number = status ? status->as<std::int64_t>() : nullptr;
  if (number == nullptr || *number < 0 || *number > UINT16_MAX) {
    return std::nullopt;
  }
  PeerAnswer answer;
  answer.status = static_cast<Errc>(*number);
  if (answer.status == Errc::ok) {
    answer.info = info_here(*told);
    return answer;
  }
  const kdb::Result<kdb::Value> error = kdb::decode(result);
  const std::optional<std::string_view> text =
      error && error->is_string() ? error->text_view() : std::nullopt;
  if (!text || !text->starts_with(kErrorPrefix)) {
    return std::nullopt;
  }
  answer.error = text->substr(kErrorPrefix.size());
  return answer;
}

}  // namespace mserve::shim
