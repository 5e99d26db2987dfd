// SPDX-License-Identifier: Apache-2.0
#include "standin/evaluator.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "demo/api.hpp"
#include "mserve/kdb/parse.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

constexpr std::int64_t kBigBytesMax = std::int64_t{4} << 30;

Value big(const Value& count) {
  const std::optional<std::int64_t> bytes = count.integer();
  if (!bytes || *bytes < 0 || *bytes > kBigBytesMax) {
    return Value::error("type");
  }
  std::vector<std::uint8_t> items(static_cast<std::size_t>(*bytes));
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i] = static_cast<std::uint8_t>(i % 251);
  }
  return Value::bytes(std::move(items));
}

Outcome refusal(const kdb::CallError& why) {
  const bool nested = why.error.code == kdb::Errc::nested_evaluation;
  return {nested ? Outcome::Kind::nested : Outcome::Kind::other, why.name, {}};
}

}  // namespace

Evaluator::Evaluator(std::uint64_t rows, std::function<void(std::uint64_t ms)> sleep)
    : trades_(demo::Trades::generate(rows, 1)) {
  for (auto& [name, function] : demo::api(trades_)) {
    functions_.emplace(name, std::move(function));
  }
  add("sleep", [sleep = std::move(sleep)](const Value& ms) {
    sleep(static_cast<std::uint64_t>(ms.integer().value_or(0)));
    return ms;
  });
  add("fail", [](const Value& text) { return Value::error(text.text_view().value_or("type")); });
  add("big", big);
  add("user", [this](const Value&) { return Value::symbol(caller_->user); });
  functions_.emplace("asked", [](std::span<const Value> arguments) {
    return Value::list({arguments.begin(), arguments.end()});
  });
  functions_.emplace("entitled", [this](std::span<const Value> arguments) {
    if (arguments.size() != 2) {
      return Value::error("rank");
    }
    return arguments[0] == Value::symbol("eve") ? Value::error("access")
                                                : plain_answer(evaluate(arguments[1], *caller_));
  });
  add("options", [this](const Value&) { return caller_->options; });
}

void Evaluator::add(const std::string& name, std::function<Value(const Value&)> function) {
  functions_.emplace(name, [function = std::move(function)](std::span<const Value> arguments) {
    return arguments.size() == 1 ? function(arguments[0]) : Value::error("rank");
  });
}

Outcome Evaluator::evaluate(const Value& query, const Caller& caller) {
  const kdb::Result<kdb::Call, kdb::CallError> call = kdb::call_of(query);
  if (!call) {
    return refusal(call.error());
  }
  const auto found = functions_.find(call->name);
  if (found == functions_.end()) {
    return {Outcome::Kind::unknown, call->name, {}};
  }
  caller_ = &caller;
  return {Outcome::Kind::done, call->name, found->second(call->arguments)};
}

Value plain_answer(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::done:
      return outcome.value;
    case Outcome::Kind::unknown:
      return Value::error(outcome.name);
    case Outcome::Kind::nested:
    case Outcome::Kind::other:
      break;
  }
  return Value::error("nyi");
}

Value lbt_answer(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::done:
      break;
    case Outcome::Kind::nested:
      return Value::chars("Error: nested evaluation");
    case Outcome::Kind::unknown:
    case Outcome::Kind::other:
      return Value::chars("Error: unknown command: " + outcome.name);
  }
  if (outcome.value.is_error()) {
    return Value::chars("Error: " + outcome.name + " " +
                        std::string(outcome.value.text_view().value_or("")));
  }
  return outcome.value;
}

}  // namespace mserve::test
