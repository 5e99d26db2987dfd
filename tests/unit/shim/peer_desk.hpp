// SPDX-License-Identifier: Apache-2.0
// A Desk whose q is another broker's gateway.
#pragma once

#include "support/request_options.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {

using test::options;

inline const kdb::Value kHopOnce =
    options({"hop", "repeatable"}, {kdb::Value::long_atom(1), kdb::Value::boolean(false)});

inline Desk::Shape shape() {
  Desk::Shape shape;
  shape.form = Form::lbt;
  shape.peer = true;
  shape.credit = 8;
  return shape;
}

/// The same, where a large request cannot be gathered.
inline Desk::Shape streaming() {
  Desk::Shape streaming = shape();
  streaming.max_gathered = 8'000;
  return streaming;
}

/// The next request that the peer gets. @return its qid.
inline std::int64_t expect_request(Desk& d, const kdb::Value& query, const kdb::Value& with) {
  const auto message = d.q.next();
  EXPECT_TRUE(message);
  if (!message || message->value.count() != 3) {
    ADD_FAILURE() << "no request";
    return -1;
  }
  EXPECT_EQ(message->header.kind, kdb::MessageKind::async);
  EXPECT_EQ(message->value.at(1), query);
  EXPECT_EQ(message->value.at(2), with);
  return message->value.at(0).integer().value_or(-1);
}

}  // namespace mserve::shim
