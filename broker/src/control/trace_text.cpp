// SPDX-License-Identifier: Apache-2.0
#include "control/trace_text.hpp"

#include <array>
#include <cstdio>

#include "mserve/kdb/json.hpp"

namespace mserve::broker {

namespace {

/// As RFC 4180 has it; names are a peer's, and may hold anything.
void append_cell(std::string& text, std::string_view value) {
  if (value.find_first_of(",\"\r\n") == std::string_view::npos) {
    text += value;
    return;
  }
  text += '"';
  for (const char c : value) {
    text += c;
    if (c == '"') {
      text += c;
    }
  }
  text += '"';
}

/// Sessions are told as everywhere: from 1. None: an empty cell.
std::string session_text(std::uint32_t number) {
  return number == kNone ? std::string() : std::to_string(number + 1);
}

/// Microseconds, which Chrome's traces count, without losing the rest.
std::string micros(Nanos ns) {
  std::array<char, 32> text{};
  (void)std::snprintf(text.data(), text.size(), "%llu.%03u",
                      static_cast<unsigned long long>(ns / 1000), static_cast<unsigned>(ns % 1000));
  return text.data();
}

std::string args_of(const EndedRequest& request) {
  const RequestStamps& stamps = request.stamps;
  std::string text = "\"args\":{\"request\":" + std::to_string(stamps.client_id) +
                     ",\"status\":" + kdb::json_string(to_string(stamps.status)) +
                     ",\"bytes\":" + std::to_string(stamps.bytes) +
                     ",\"reply_bytes\":" + std::to_string(stamps.reply_bytes);
  const auto add = [&text](const char* key, std::string_view value) {
    if (!value.empty()) {
      text.append(",\"").append(key).append("\":").append(kdb::json_string(value));
    }
  };
  add("client", request.client);
  const auto add_number = [&text](const char* key, std::uint32_t number, std::uint32_t from) {
    if (number != kNone) {
      text.append(",\"").append(key).append("\":").append(std::to_string(number + from));
    }
  };
  add_number("client_session", stamps.client, 1);
  add_number("connection", stamps.connection, 0);
  add("route", route_text(stamps.route));
  add("route_name", request.route_name);
  return text + "}";
}

}  // namespace

std::string route_text(std::uint64_t route) {
  if (route == 0) {
    return {};
  }
  std::array<char, 32> text{};
  (void)std::snprintf(text.data(), text.size(), "0x%016llx",
                      static_cast<unsigned long long>(route));
  return text.data();
}

TraceText::Form TraceText::form_of(std::string_view file) noexcept {
  return file.ends_with(".csv") ? Form::csv : Form::json;
}

std::string TraceText::head() const {
  if (form_ == Form::csv) {
    return "submitted_ns,dispatched_ns,answered_ns,status,request,client,client_session,"
           "connection,uid,servant,servant_session,route,route_name,bytes,reply_bytes\n";
  }
  const std::string pid = std::to_string(pid_);
  return R"([
{"name":"process_name","ph":"M","pid":)" +
         pid + R"(,"args":{"name":"mserve-broker"}},
{"name":"process_labels","ph":"M","pid":)" +
         pid + R"(,"args":{"labels":"ts 0 is )" + std::to_string(begin_.wall) +
         R"( ns since 1970 UTC"}})";
}

std::string_view TraceText::tail() const noexcept {
  return form_ == Form::csv ? std::string_view() : std::string_view("\n]\n");
}

void TraceText::append(std::string& text, const EndedRequest& request, std::int64_t wall_offset) {
  if (form_ == Form::csv) {
    append_csv(text, request, wall_offset);
  } else {
    append_json(text, request);
  }
}

void TraceText::append_csv(std::string& text, const EndedRequest& request,
                           std::int64_t wall_offset) const {
  const RequestStamps& stamps = request.stamps;
  for (const Nanos at : {stamps.submitted_at, request.dispatched_at(), stamps.ended_at}) {
    text += std::to_string(static_cast<std::int64_t>(at) + wall_offset) + ",";
  }
  text += to_string(stamps.status);
  text += "," + std::to_string(stamps.client_id) + ",";
  append_cell(text, request.client);
  text += "," + session_text(stamps.client) + ",";
  text += stamps.connection == kNone ? std::string() : std::to_string(stamps.connection);
  text += "," + (request.uid ? std::to_string(*request.uid) : std::string()) + ",";
  append_cell(text, request.servant);
  text += "," + session_text(stamps.servant) + "," + route_text(stamps.route) + ",";
  append_cell(text, request.route_name);
  text += "," + std::to_string(stamps.bytes) + "," + std::to_string(stamps.reply_bytes) + "\n";
}

void TraceText::append_event(std::string& text, std::string_view name, char phase, Nanos at,
                             std::uint32_t row, std::string_view more) const {
  const Nanos since = at > begin_.steady ? at - begin_.steady : 0;
  text.append(",\n{\"name\":\"").append(name).append("\",\"cat\":\"request\",\"ph\":\"");
  text += phase;
  text += "\",\"pid\":" + std::to_string(pid_) + ",\"tid\":" + std::to_string(row) +
          ",\"ts\":" + micros(since) + ",";
  text.append(more).append("}");
}

/// What a servant runs is a bar in its row. Those who wait for it overlap, and viewers leave out
/// bars of one row that do, so a wait is a pair of events with a number of their own.
void TraceText::append_json(std::string& text, const EndedRequest& request) {
  const RequestStamps& stamps = request.stamps;
  const std::uint32_t row = stamps.servant == kNone ? 0 : stamps.servant + 1;
  const auto [place, fresh] = named_.try_emplace(row, stamps.servant_generation);
  if (fresh || place->second != stamps.servant_generation) {
    place->second = stamps.servant_generation;
    const std::string name = row == 0 ? "no servant" : std::string(request.servant);
    text += R"(,
{"name":"thread_name","ph":"M","pid":)" +
            std::to_string(pid_) + ",\"tid\":" + std::to_string(row) + R"(,"args":{"name":)" +
            kdb::json_string(name) + "}}";
  }
  const std::string args = args_of(request);
  const Nanos dispatched = request.dispatched_at();
  if (dispatched > stamps.submitted_at) {
    const std::string id = "\"id\":\"" + std::to_string(++waits_) + "\"";
    append_event(text, "queue", 'b', stamps.submitted_at, row, id + "," + args);
    append_event(text, "queue", 'e', dispatched, row, id);
  }
  if (stamps.dispatched_at != 0) {
    append_event(text, "execution", 'X', dispatched, row,
                 "\"dur\":" + micros(request.execution_ns()) + "," + args);
  }
}

}  // namespace mserve::broker
