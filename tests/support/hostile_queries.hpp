// SPDX-License-Identifier: Apache-2.0
// Queries of somebody who may call proc1 and wants more. None of them is a call of proc1 with
// literal arguments, so none may reach a servant.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::test {

/// Query texts.
inline std::vector<std::string> hostile_texts() {
  std::vector<std::string> texts = {
      // other functions
      "proc2 `IBM", "proc2[`IBM]", "(`proc2;`IBM)", "(\"proc2\";`IBM)", "proc2", "Proc1 `IBM",
      "proc1x `IBM", "proc11", ".proc1 `IBM", "proc1.x `IBM", ".api.proc1 `IBM", "..proc1 1",
      "proc1\xc3\xa9 `IBM", "\xef\xbb\xbfproc1 `IBM",
      "pr\xd0\xbe"
      "c1 `IBM",
      "proc1\xe2\x80\x8b `IBM", "value \"1\"", "eval (1;2)", "system \"ls\"", "hopen 5001",
      "exit 0", "get `proc1", "set[`proc1;1]", "parse \"1\"", "reval 1", "insert[`t;1]",
      "upsert[`t;1]", ".Q.s1 1", ".z.ps 1", ".z.pw[`a;\"b\"]", "-1 \"x\"", "0 \"exit 1\"",
      "`proc2 `IBM", "\"proc2\" `IBM",
      // system commands
      "\\ls", "\\l x.q", "\\\\", "\\", "\\d .api", "\\ls\nproc1 `IBM", " \\ls",
      // nested evaluation
      "proc1 proc2 `IBM", "proc1[proc2 `IBM]", "proc1 system \"ls\"", "proc1[system \"ls\"]",
      "proc1[`IBM;hopen 5001]", "proc1 value \"exit 1\"", "proc1 (value;\"exit 1\")", "proc1 1+1",
      "proc1[1;2+3]", "proc1 -1+1", "proc1 x", "proc1 .z.p", "proc1 .z.w", "proc1[.Q.s1]",
      "proc1 first", "proc1 (1;x)", "proc1 `a`b?`a", "proc1 @[value;\"exit 1\";0]",
      "proc1 .[value;enlist \"exit 1\";0]", "proc1 til 10", "proc1[$[1b;`a;`b]]",
      "proc1 exec a from t", "proc1 select from t", "proc1 (`a;proc2 1)", "proc1 enlist proc2 1",
      "proc1 ([]a:proc2 1)", "proc1 `a!proc2 1", "proc1 neg[1]", "proc1[0N!1]", "proc1 `IBM -1",
      "proc1 1 -x", "proc1 \"a\",\"b\"", "proc1 `long$\"1\"", "proc1 `$x", "proc1 !1",
      // lambdas
      "{x}", "{x}[1]", "{proc1 x} `IBM", "proc1 {x}", "proc1[{exit 1}[]]", "proc1[{}]",
      "proc1 (`a;{x})", "proc1 (`a;(`b;{x}))", "{[x]proc2 x}`IBM", "({proc2 x};1)", "proc1[{[]}]",
      "proc1 {x}each 1 2",
      // adverbs, projections, compositions
      "proc1 +", "proc1[+/]", "proc1' `a`b", "proc1 each `a`b", "proc1/[1]", "proc1\\1", "proc1/:1",
      "proc1\\:1", "proc1':1", "proc1[;1]", "proc1[1;]", "proc1[;]", "proc1 proc2/", "proc1@`IBM",
      "proc1 . enlist `IBM", "(proc1;`IBM)", "(+;1;2)", "('[proc1;proc2])1",
      // more than one thing
      "proc1 `IBM;exit 1", "proc1 `IBM; proc2 `GS", "exit 1;proc1 `IBM", ";proc1 `IBM",
      "proc1[`IBM][`GS]", "proc1[`IBM] proc2 1", "proc1 `IBM\nexit 1", "proc1 `IBM\r\nproc2 1",
      "\nproc2 1", "proc1[`IBM", "proc1 `IBM]", "proc1 (1;2", "proc1 \"abc", "proc1[`IBM))",
      "(`proc1;`IBM);1",
      // assignments
      "proc1:1", "proc1:{exit 1}", "a:1", "a:1;proc1 `IBM", "proc1 x:5", "proc1[a:1]", "proc1::1",
      "`proc1 set 1", ".z.pg:{value x}", "proc1+:1", "@[`.;`proc1;:;1]",
      // comments and characters that hide
      "/ proc1 `IBM", "proc1 `IBM / proc2", "proc1 /", "/\nproc2 1\n\\", "proc1 `IBM // exit",
      "proc1\x01 `IBM", "proc1 \x7f", "proc1\x1b[2J",
      "proc1 `IBM\x0b"
      "exit 1",
      "proc1\xc2\xa0`IBM", "proc1 \xe2\x80\x9cIBM\xe2\x80\x9d", "", " ", "\t", "()", "`", "``proc1",
      "::", "1", "\"proc1 `IBM\"",
      // other languages
      "p)print(1)", "k)+/!10", "s)select 1", "q)proc1 `IBM", "proc1 `IBM;\\ls"};
  // nesting and size
  texts.push_back("proc1 " + std::string(200, '(') + "1" + std::string(200, ')'));
  texts.push_back("proc1 " + std::string(60'000, '('));
  texts.push_back("proc1 " + std::string(60'000, '{'));
  texts.push_back("proc1 \"" + std::string(70'000, 'a') + "\"");
  texts.push_back("proc1 " + std::string(80'000, ' ') + "`IBM");
  texts.push_back("proc1 " + std::string(30'000, '9') + "9 x");
  texts.emplace_back("proc1 `IBM\0exit 1", 17);
  texts.emplace_back("proc1\0", 6);
  return texts;
}

/// A function of the root namespace.
inline kdb::Value lambda_of(const std::string& source) {
  std::vector<std::byte> object{std::byte{100}, std::byte{0}};
  const std::vector<std::byte> text = kdb::encode(kdb::Value::chars(source));
  object.insert(object.end(), text.begin(), text.end());
  return kdb::Value::function(object).value();
}

/// Queries that are no text.
/// A table with one column `a`, which stands in that place.
inline kdb::Value splayed_of(const std::string& place) {
  std::vector<std::byte> bytes;
  for (const int byte : {98, 0, 99, 11, 0, 1, 0, 0, 0, 97, 0, -11}) {
    bytes.push_back(static_cast<std::byte>(byte));
  }
  for (const char letter : place) {
    bytes.push_back(static_cast<std::byte>(letter));
  }
  bytes.push_back(std::byte{0});
  return kdb::decode(bytes).value();
}

inline std::vector<kdb::Value> hostile_values() {
  using kdb::Value;
  const Value lambda = lambda_of("{exit 1}");
  const Value name = Value::symbol("proc1");
  Value deep = lambda;
  for (int i = 0; i < 40; ++i) {
    deep = Value::list({Value::long_atom(1), deep});
  }
  return {
      Value::list({Value::symbol("proc2"), Value::symbol("IBM")}),
      Value::list({Value::chars("proc2"), Value::symbol("IBM")}),
      Value::symbols({"proc2", "IBM"}),
      Value::symbol("proc2"),
      Value::list({Value::symbol("value"), Value::chars("exit 1")}),
      Value::list({Value::chars("value"), Value::chars("exit 1")}),
      Value::list({Value::symbol(""), Value::symbol("proc1")}),
      Value::list({Value::symbol("proc1 "), Value::symbol("IBM")}),
      Value::list({Value::symbol("proc1;exit 1"), Value::symbol("IBM")}),
      Value::list({Value::chars("proc1;exit 1"), Value::symbol("IBM")}),
      Value::list({Value::chars("{exit 1}"), Value::symbol("IBM")}),
      Value::list({Value::chars("proc1 proc2"), Value::symbol("IBM")}),
      Value::list({Value::chars(" proc1"), Value::symbol("IBM")}),
      Value::list({Value::list({name}), Value::symbol("IBM")}),
      Value::list({Value::list({name, Value::long_atom(1)}), Value::symbol("IBM")}),
      Value::list({lambda, Value::symbol("IBM")}),
      Value::list({name, lambda}),
      Value::list({name, Value::list({Value::long_atom(1), lambda})}),
      Value::list({name, deep}),
      Value::list({name, Value::dict(Value::list({lambda}), Value::list({name}))}),
      Value::list({name, Value::dict(Value::list({name}), Value::list({lambda}))}),
      Value::list({name, Value::symbol("IBM"), lambda}),
      // Splayed tables: q reads what they name.
      Value::list({name, splayed_of(":/data/hr/")}),
      Value::list({name, splayed_of("trades")}),
      Value::list({name, Value::list({splayed_of("trades")})}),
      Value::list({Value::null(), name}),
      Value::list({Value::long_atom(0), Value::chars("exit 1")}),
      Value::list({}),
      Value::symbols({}),
      Value::symbols({"", "proc1"}),
      lambda,
      Value::null(),
      Value::long_atom(1),
      Value::longs({1, 2, 3}),
      Value::boolean(true),
      Value::dict(Value::symbols({"proc1"}), Value::symbols({"IBM"})),
      Value::table({"proc1"}, {Value::longs({1})}),
  };
}

}  // namespace mserve::test
