// SPDX-License-Identifier: Apache-2.0
// The whole way of a query: client, gateway, rings, mserve-qshim, and the stand-in for q.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "standin/standin.hpp"
#include "support/shim_process.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {

/// What the user of a script does with his handle `h`. Whatever fails, fails the test.
class Handle {
 public:
  explicit Handle(RawClient client) : client_(std::move(client)) {}

  /// (neg h) message
  void neg(const Value& message) { EXPECT_TRUE(client_.send(message, MessageKind::async)); }
  /// h[]
  Value next() {
    const auto message = client_.receive();
    EXPECT_TRUE(message) << "closed";
    EXPECT_TRUE(!message || message->header.kind == MessageKind::async);
    return message ? message->value : Value::error("closed");
  }
  /// h message
  Value operator()(const Value& message) {
    return client_.query(message).value_or(Value::error("closed"));
  }
  Value operator()(const std::string& query) { return (*this)(text(query)); }
  /// h "": had anything else been on its way here, it would come in place of this answer.
  void expect_nothing_more() { EXPECT_EQ((*this)(""), Value::null()); }

  [[nodiscard]] RawClient& raw() noexcept { return client_; }

 private:
  RawClient client_;
};

/// A stand-in, and the shim in front of it that found out by itself how it speaks.
struct ServedQ {
  ServedQ(const Broker& broker, StandinOptions options) : q(std::move(options)) {
    q.start();
    shim.emplace(broker, q.port(), std::vector<std::string>{"--servant-protocol", "auto"});
  }

  Standin q;
  std::optional<ShimProcess> shim;
};

/// A broker with its gateway, and as many q processes as options are given, all of them attached.
class TheWay {
 public:
  explicit TheWay(std::vector<StandinOptions> options)
      // Nobody is to be suspected because a loaded machine, or the test, holds q up.
      : broker_(with_gateway({"--stall-timeout", "60s"}, 0)) {
    for (StandinOptions& o : options) {
      add(std::move(o));
    }
  }

  void add(StandinOptions options) {
    served_.push_back(std::make_unique<ServedQ>(broker_, std::move(options)));
    broker_.wait_for_counter("servants", served_.size());
  }
  [[nodiscard]] Broker& broker() noexcept { return broker_; }
  [[nodiscard]] Standin& q(std::size_t index = 0) { return served_[index]->q; }
  [[nodiscard]] ShimProcess& shim(std::size_t index = 0) { return *served_[index]->shim; }
  [[nodiscard]] Handle open() const { return Handle(connect(broker_)); }

 private:
  Broker broker_;
  std::vector<std::unique_ptr<ServedQ>> served_;
};

inline const char* name_of(Form form) {
  return form == Form::plain ? "plain" : form == Form::lbt ? "lbt" : "qsvr";
}

inline void PrintTo(Form form, std::ostream* out) {
  *out << name_of(form);
}

/// Tests that hold whichever q program stands behind the shim.
class OfEveryForm : public ::testing::TestWithParam<Form> {
 protected:
  [[nodiscard]] static StandinOptions q_of_this_form() {
    StandinOptions options;
    options.form = GetParam();
    return options;
  }
};

inline std::string form_name(const ::testing::TestParamInfo<Form>& form) {
  return name_of(form.param);
}

/// The ways to ask that a gateway's client has.
enum class Ask { sync, aw, np, lbt };

inline constexpr std::array<Ask, 4> kEveryAsk = {Ask::sync, Ask::aw, Ask::np, Ask::lbt};

inline const char* name_of(Ask ask) {
  constexpr std::array<const char*, 4> kNames = {"sync", "aw", "np", "lbt"};
  return kNames[static_cast<std::size_t>(ask)];
}

/// A call of `function`, so that no way to ask is taken for another.
inline Value call(const std::string& function, Value argument) {
  return list({Value::symbol(function), std::move(argument)});
}

inline Bytes message_of(Ask ask, const Value& query,
                        kdb::ByteOrder order = kdb::ByteOrder::little) {
  switch (ask) {
    case Ask::sync:
      return kdb::encode_message(query, MessageKind::sync, order);
    case Ask::aw:
      return kdb::encode_message(query, MessageKind::async, order);
    case Ask::np:
      return kdb::encode_message(list({query, Value::symbol("callback")}), MessageKind::async,
                                 order);
    case Ask::lbt:
      break;
  }
  return kdb::encode_message(list({Value::int_atom(7), query}), MessageKind::async, order);
}

/// The result in an answer, which must have the form that goes with the way to ask.
inline Value result_in(Ask ask, const kdb::Message& answer) {
  EXPECT_EQ(answer.header.order, kdb::ByteOrder::little);
  EXPECT_EQ(answer.header.kind, ask == Ask::sync ? MessageKind::response : MessageKind::async);
  if (ask == Ask::np) {
    EXPECT_EQ(answer.value.count(), 4U);
    EXPECT_EQ(answer.value.at(0), Value::symbol("callback"));
    return answer.value.at(3);
  }
  if (ask == Ask::lbt) {
    EXPECT_EQ(answer.value.count(), 3U);
    EXPECT_EQ(answer.value.at(0), Value::int_atom(7));
    EXPECT_TRUE(answer.value.at(2).is_dict());
    return answer.value.at(1);
  }
  return answer.value;
}

}  // namespace mserve::test
