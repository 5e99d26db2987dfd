// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_answer.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

namespace {

using kdb::Value;

/// One column of a table: `get` of each row, as vector of T.
template <class T, class Rows, class Get>
std::vector<T> column(const Rows& rows, Get get) {
  std::vector<T> items;
  items.reserve(rows.size());
  for (const auto& row : rows) {
    items.push_back(static_cast<T>(get(row)));
  }
  return items;
}

template <class Rows, class Get>
Value symbols_of(const Rows& rows, Get get) {
  std::vector<std::string> items;
  items.reserve(rows.size());
  for (const auto& row : rows) {
    items.emplace_back(get(row));
  }
  return Value::symbols(std::move(items));
}

template <class Rows, class Get>
Value longs_of(const Rows& rows, Get get) {
  return Value::longs(column<std::int64_t>(rows, get));
}

std::string_view name_of(Convention convention) noexcept {
  switch (convention) {
    case Convention::sync:
      return "sync";
    case Convention::lbt:
      return "lbt";
    case Convention::np:
      return "np";
    case Convention::aw:
      return "aw";
    case Convention::flush:
    case Convention::ignored:
    case Convention::refused:
      break;
  }
  return "";
}

std::string servant_name(std::span<const SessionRow> sessions, std::uint32_t number) {
  const auto found = std::find_if(sessions.begin(), sessions.end(), [number](const SessionRow& s) {
    return s.servant && s.number == number;
  });
  return found != sessions.end() ? found->name : std::string();
}

Value queries_of(std::span<const QueryRecord> records) {
  std::vector<Value> texts;
  texts.reserve(records.size());
  for (const QueryRecord& record : records) {
    texts.push_back(Value::chars(record.query.data()));
  }
  return Value::list(std::move(texts));
}

/// LBT's options, as the client gave them; `::` without any, or when they were too long to keep.
Value options_of(std::span<const QueryRecord> records) {
  std::vector<Value> options;
  options.reserve(records.size());
  for (const QueryRecord& record : records) {
    const auto bytes = std::span(record.options).first(record.options_bytes);
    auto value = kdb::decode(bytes);
    options.push_back(value ? std::move(*value) : Value());
  }
  return Value::list(std::move(options));
}

}  // namespace

Value servants_table(std::span<const SessionRow> sessions) {
  std::vector<SessionRow> rows;
  std::copy_if(sessions.begin(), sessions.end(), std::back_inserter(rows),
               [](const SessionRow& s) { return s.servant; });
  return Value::table(
      {"qsvr", "session", "pid", "uid", "credit", "suspended", "paused", "tier", "tags", "since"},
      {symbols_of(rows, [](const SessionRow& s) { return s.name; }),
       longs_of(rows, [](const SessionRow& s) { return s.number; }),
       Value::ints(column<std::int32_t>(rows, [](const SessionRow& s) { return s.pid; })),
       longs_of(rows, [](const SessionRow& s) { return s.uid; }),
       longs_of(rows, [](const SessionRow& s) { return s.credit; }),
       Value::booleans(column<std::uint8_t>(rows, [](const SessionRow& s) { return s.suspended; })),
       Value::booleans(column<std::uint8_t>(rows, [](const SessionRow& s) { return s.paused; })),
       longs_of(rows, [](const SessionRow& s) { return s.tier; }),
       symbols_of(rows, [](const SessionRow& s) { return s.tags; }),
       Value::timestamps(column<std::int64_t>(rows, [](const SessionRow& s) { return s.since; }))});
}

Value clients_table(std::span<const ClientRow> connections, std::span<const SessionRow> sessions) {
  std::vector<ClientRow> rows(connections.begin(), connections.end());
  std::vector<std::int32_t> handles =
      column<std::int32_t>(rows, [](const ClientRow& c) { return c.handle; });
  for (const SessionRow& session : sessions) {
    if (!session.servant) {
      ClientRow row;
      row.user = session.name;
      row.address = "pid:" + std::to_string(session.pid);
      row.since = session.since;
      rows.push_back(std::move(row));
      handles.push_back(kdb::kNullInt);
    }
  }
  return Value::table(
      {"user", "address", "handle", "since", "requests", "pending", "sent", "waiting"},
      {symbols_of(rows, [](const ClientRow& c) { return c.user; }),
       symbols_of(rows, [](const ClientRow& c) { return c.address; }),
       Value::ints(std::move(handles)),
       Value::timestamps(column<std::int64_t>(rows, [](const ClientRow& c) { return c.since; })),
       longs_of(rows, [](const ClientRow& c) { return c.requests; }),
       longs_of(rows, [](const ClientRow& c) { return c.pending; }),
       longs_of(rows, [](const ClientRow& c) { return c.sent_bytes; }),
       longs_of(rows, [](const ClientRow& c) { return c.waiting_bytes; })});
}

Value queries_table(std::span<const QueryRecord> records, std::span<const SessionRow> sessions) {
  const auto longs = [records](auto get) { return longs_of(records, get); };
  const auto times = [records](auto get) {
    return Value::timestamps(column<std::int64_t>(records, get));
  };
  const auto spans = [records](auto get) {
    return Value::timespans(column<std::int64_t>(records, get));
  };
  const auto ints = [records](auto get) { return Value::ints(column<std::int32_t>(records, get)); };
  const auto symbols = [records](auto get) { return symbols_of(records, get); };
  using Q = const QueryRecord&;
  return Value::table(
      {"qid",           "query",     "client_qid",    "client_options", "client_handle",
       "time_received", "time_sent", "time_returned", "route",          "backlog",
       "slave_handle",  "location",  "user",          "protocol",       "qsvr",
       "status",        "elapsed",   "execution",     "request",        "answer"},
      {longs([](Q r) { return r.qid; }),
       queries_of(records),
       longs([](Q r) { return r.client_qid; }),
       options_of(records),
       ints([](Q r) { return r.handle; }),
       times([](Q r) { return r.time - static_cast<std::int64_t>(r.elapsed_ns); }),
       times([](Q r) {
         return r.execution_ns != 0 ? r.time - static_cast<std::int64_t>(r.execution_ns)
                                    : kdb::kNullLong;
       }),
       times([](Q r) { return r.time; }),
       symbols([](Q r) { return r.route.data(); }),
       ints([](Q r) { return r.backlog; }),
       ints([](Q r) {
         return r.servant != 0 ? static_cast<std::int32_t>(r.servant) : kdb::kNullInt;
       }),
       symbols([](Q) { return "client"; }),
       symbols([](Q r) { return r.user.data(); }),
       symbols([](Q r) { return name_of(r.convention); }),
       symbols([sessions](Q r) { return servant_name(sessions, r.servant); }),
       symbols([](Q r) { return to_string(r.status); }),
       spans([](Q r) { return r.elapsed_ns; }),
       spans([](Q r) {
         return r.execution_ns != 0 ? static_cast<std::int64_t>(r.execution_ns) : kdb::kNullLong;
       }),
       longs([](Q r) { return r.request_bytes; }),
       longs([](Q r) { return r.answer_bytes; })});
}

Value stats_dict(std::span<const CounterRow> counters) {
  return Value::dict(symbols_of(counters, [](const CounterRow& c) { return c.name; }),
                     longs_of(counters, [](const CounterRow& c) { return c.value; }));
}

}  // namespace mserve::broker
