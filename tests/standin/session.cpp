// SPDX-License-Identifier: Apache-2.0
// mserve-qsession: plays what a user types at a q console with a handle `h`. Test code, never
// installed.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "standin/raw_client.hpp"

namespace {

using mserve::kdb::MessageKind;
using mserve::kdb::Value;
using mserve::test::RawClient;

constexpr std::string_view kAbout =
    "usage: mserve-qsession PORT < LINES\n\n"
    "Repeats each line and prints what it gives, as q would. It is no q: it knows these alone.\n"
    "  h:hopen PORT     connects to the PORT of the command line\n"
    "  h VALUE          sync query; 'text is an error\n"
    "  (neg h) VALUE    async message\n"
    "  h[]              the next async message that arrives; r:h[] keeps it\n"
    "  r 0, key r 2     an item of what was kept, or the keys of one\n"
    "  hclose h\n"
    "  < anything       no input: shows the next async message, which q would run as it arrives\n"
    "Several statements stand in one line, with `;` between them.\n";

/// Cuts a line at each `;` that stands in no string and in no bracket.
std::vector<std::string> statements_of(const std::string& line) {
  std::vector<std::string> statements(1);
  int depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < line.size(); ++at) {
    const char c = line[at];
    if (in_string && c == '\\' && at + 1 < line.size()) {
      statements.back() += c;
      statements.back() += line[++at];
      continue;
    }
    in_string = in_string != (c == '"');
    if (!in_string) {
      depth += c == '(' || c == '[' ? 1 : 0;
      depth -= c == ')' || c == ']' ? 1 : 0;
    }
    if (c == ';' && depth == 0 && !in_string) {
      statements.emplace_back();
    } else if (c != ' ' || !statements.back().empty()) {
      statements.back() += c;
    }
  }
  return statements;
}

class Session {
 public:
  explicit Session(std::uint16_t port) : port_(port) {}

  void run(const std::string& statement) {
    if (statement.empty()) {
      return;
    }
    if (statement == "h:hopen PORT") {
      handle_.emplace(RawClient::tcp(port_));
      if (!handle_->handshake()) {
        throw std::runtime_error("hopen");
      }
    } else if (statement == "hclose h") {
      handle_.reset();
    } else if (statement == "h[]") {
      show(next());
    } else if (statement == "r:h[]") {
      kept_ = next();
    } else if (const auto item = after(statement, "key r ")) {
      show(kept_.at(static_cast<std::size_t>(std::stoul(*item))).keys());
    } else if (const auto index = after(statement, "r ")) {
      show(kept_.at(static_cast<std::size_t>(std::stoul(*index))));
    } else if (const auto message = after(statement, "(neg h) ")) {
      if (!handle().send(literal(*message), MessageKind::async)) {
        throw std::runtime_error("close");
      }
    } else if (const auto query = after(statement, "h ")) {
      show(handle().query(literal(*query)).value_or(Value::error("close")));
    } else {
      throw std::runtime_error("not known here: " + statement);
    }
  }
  Value next() {
    const auto message = handle().receive();
    if (!message || message->header.kind != MessageKind::async) {
      throw std::runtime_error(message ? "an answer that nobody waits for" : "close");
    }
    return message->value;
  }

 private:
  static std::optional<std::string> after(const std::string& statement, std::string_view front) {
    return statement.starts_with(front) ? std::optional(statement.substr(front.size()))
                                        : std::nullopt;
  }
  static Value literal(const std::string& source) {
    const auto value = mserve::kdb::parse_value(source);
    if (!value) {
      throw std::runtime_error("no literal: " + source);
    }
    return value.value();
  }
  static void show(const Value& value) { std::cout << mserve::kdb::show(value); }
  RawClient& handle() {
    if (!handle_) {
      throw std::runtime_error("h");
    }
    return *handle_;
  }

  std::uint16_t port_;
  std::optional<RawClient> handle_;
  Value kept_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || std::string_view(argv[1]) == "--help") {
    (argc == 2 ? std::cout : std::cerr) << kAbout;
    return argc == 2 ? 0 : 2;
  }
  Session session(static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10)));
  bool failed = false;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      if (line.starts_with("< ")) {
        std::cout << "< " << mserve::kdb::text(session.next()) << "\n";
        continue;
      }
      std::cout << "q) " << line << "\n";
      for (const std::string& statement : statements_of(line)) {
        session.run(statement);
      }
    } catch (const std::exception& e) {
      std::cout << "! " << e.what() << "\n";
      failed = true;
    }
  }
  return failed ? 1 : 0;
}
