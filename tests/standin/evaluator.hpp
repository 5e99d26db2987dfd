// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "demo/trades.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/servant/invocation.hpp"

namespace mserve::test {

/// On whose behalf a query runs.
struct Caller {
  std::string user;
  kdb::Value options;  ///< Of an LBT request; `::` without.
};

/// What became of a query.
struct Outcome {
  enum class Kind : std::uint8_t {
    done,     ///< `value` is the result, or the error that the function signalled.
    unknown,  ///< No function is called `name`.
    nested,   ///< An argument is no literal.
    other,    ///< No call of a function by its name.
  };
  Kind kind = Kind::done;
  std::string name;
  kdb::Value value;
};

/// The functions of the stand-in, and how a query becomes a call of one.
class Evaluator {
 public:
  /// @param sleep  lets so many milliseconds pass.
  Evaluator(std::uint64_t rows, std::function<void(std::uint64_t ms)> sleep);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  /// @param query  text or list, as q takes it.
  [[nodiscard]] Outcome evaluate(const kdb::Value& query, const Caller& caller);

 private:
  void add(const std::string& name, std::function<kdb::Value(const kdb::Value&)> function);

  demo::Trades trades_;
  std::map<std::string, servant::Function, std::less<>> functions_;
  const Caller* caller_ = nullptr;  // of the query that runs
};

/// The answer of a plain q process: the result, or the error that q would signal.
[[nodiscard]] kdb::Value plain_answer(const Outcome& outcome);

/// The result item of LBT's servants, which send errors as text.
[[nodiscard]] kdb::Value lbt_answer(const Outcome& outcome);

}  // namespace mserve::test
