// SPDX-License-Identifier: Apache-2.0
#include "control/reload_answer.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace mserve::broker {

namespace {

/// The rows of the table, as columns.
class Rows {
 public:
  void add(const std::string& key, const std::string& value, const std::string& fault) {
    keys_.push_back(key);
    values_.push_back(kdb::Value::chars(value));
    faults_.push_back(kdb::Value::chars(fault));
  }
  [[nodiscard]] kdb::Value table() && {
    using kdb::Value;
    return Value::table({"key", "value", "fault"},
                        {Value::symbols(std::move(keys_)), Value::list(std::move(values_)),
                         Value::list(std::move(faults_))});
  }

 private:
  std::vector<std::string> keys_;
  std::vector<kdb::Value> values_;
  std::vector<kdb::Value> faults_;
};

std::string refused_text(const Reloaded& read) {
  const std::size_t count = read.faults.size() + read.fixed.size();
  return "refused, and nothing was changed: " + std::to_string(count) +
         (count == 1 ? " fault" : " faults");
}

std::string counted(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string done_text(const Reloaded& read) {
  std::string text;
  for (const Setting& setting : read.changed) {
    text += (text.empty() ? "changed: " : ", ") + setting.key;
  }
  const auto& access = read.options.gateway.access;
  if (text.empty()) {
    text =
        read.options.rules_may_come || access
            ? "no key changed"
            : "nothing to read again: the broker was started without --config, --users, --cluster";
  }
  if (access) {
    text +=
        "; " + counted(access->user_count(), "user") + ", " + counted(access->role_count(), "role");
  }
  return text;
}

}  // namespace

ReloadAnswer answer_of(const Reloaded& read) {
  Rows rows;
  if (read.refused()) {
    for (const std::string& fault : read.faults) {
      rows.add("", "", fault);
    }
    for (const Setting& setting : read.fixed) {
      rows.add(setting.key, setting.value, kNeedsRestart);
    }
    return {Errc::invalid, std::move(rows).table(), refused_text(read)};
  }
  for (const Setting& setting : read.changed) {
    rows.add(setting.key, setting.value, "");
  }
  if (!read.document.empty()) {
    rows.add("document", "\"" + read.document + "\"", "");
  }
  return {Errc::ok, std::move(rows).table(), done_text(read)};
}

}  // namespace mserve::broker
