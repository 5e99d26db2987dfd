// SPDX-License-Identifier: Apache-2.0
// The parts of mserve-client that need neither a terminal nor a broker of flesh and blood.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "tool/batch.hpp"
#include "tool/command.hpp"
#include "tool/exit_code.hpp"
#include "tool/output.hpp"
#include "tool/repeater.hpp"
#include "unit/client/fake_broker.hpp"

namespace mserve::tool {
namespace {

using kdb::Value;
using Kind = Command::Kind;

TEST(Command, LinesThatAreNotOursAreQueries) {
  EXPECT_EQ(parse_command("proc1 `IBM").kind, Kind::query);
  EXPECT_EQ(parse_command("t 5").kind, Kind::query);
  EXPECT_EQ(parse_command("").kind, Kind::nothing);
  EXPECT_EQ(parse_command(" \t\r").kind, Kind::nothing);
  EXPECT_EQ(parse_command("/ a remark").kind, Kind::nothing);
}

TEST(Command, KnowsItsCommands) {
  EXPECT_EQ(parse_command("\\\\").kind, Kind::quit);
  EXPECT_EQ(parse_command(" \\? ").kind, Kind::help);
  for (const char* const word : {"exit", " quit "}) {
    EXPECT_EQ(parse_command(word).kind, Kind::quit) << word;
  }
  for (const char* const word : {"help", "?"}) {
    EXPECT_EQ(parse_command(word).kind, Kind::help) << word;
  }
  EXPECT_EQ(parse_command("exit 0").kind, Kind::query) << "q's own";
  EXPECT_EQ(parse_command("\\t").kind, Kind::timer_show);
  EXPECT_EQ(parse_command("\\t 0").kind, Kind::timer_set);
  const Command timer = parse_command("\\t  250 ");
  EXPECT_EQ(timer.kind, Kind::timer_set);
  EXPECT_EQ(timer.first, 250U);
  EXPECT_EQ(parse_command("\\c").kind, Kind::console_show);
  const Command console = parse_command("\\c 30 200");
  EXPECT_EQ(console.kind, Kind::console_set);
  EXPECT_EQ(console.first, 30U);
  EXPECT_EQ(console.second, 200U);
}

TEST(Command, EverythingElseWithABackslashIsUnknown) {
  for (const char* line : {"\\", "\\ls", "\\t x", "\\t -1", "\\t 5 6", "\\t 99999999999", "\\c 5",
                           "\\c 1 2 3", "\\c a b", "\\\\ x", "\\? x", "\\tt"}) {
    EXPECT_EQ(parse_command(line).kind, Kind::unknown) << line;
  }
}

// --console refused these, and \c took them.
TEST(Command, TheConsoleHasTheBoundsOfTheOption) {
  EXPECT_EQ(parse_command("\\c 10 2000").kind, Kind::console_set);
  for (const char* const line : {"\\c 5 5", "\\c 9 80", "\\c 25 2001"}) {
    EXPECT_EQ(parse_command(line).kind, Kind::console_refused) << line;
  }
  const std::string bounds = std::to_string(kConsoleMin) + " to " + std::to_string(kConsoleMax);
  EXPECT_NE(console_refusal().find(bounds), std::string_view::npos);
  EXPECT_NE(command_help().find(bounds), std::string_view::npos);
}

TEST(ExitCode, TellsScriptsWhatKindOfFailureItWas) {
  EXPECT_EQ(exit_code_of(Errc::failed), ExitCode::error);
  EXPECT_EQ(exit_code_of(Errc::too_large), ExitCode::usage);
  EXPECT_EQ(exit_code_of(Errc::no_broker), ExitCode::no_broker);
  EXPECT_EQ(exit_code_of(Errc::disconnected), ExitCode::no_broker);
  EXPECT_EQ(exit_code_of(Errc::not_attached), ExitCode::no_broker);
  EXPECT_EQ(exit_code_of(Errc::timed_out), ExitCode::timed_out);
  EXPECT_EQ(exit_code_of(Errc::busy), ExitCode::refused);
  EXPECT_EQ(exit_code_of(Errc::no_servant), ExitCode::refused);
  EXPECT_EQ(exit_code_of(Errc::shutdown), ExitCode::refused);
  EXPECT_EQ(exit_code_of(static_cast<Errc>(999)), ExitCode::no_broker);
}

Answer some_answer() {
  Answer answer;
  answer.id = 7;
  answer.result = Value::longs({1, 2, 3});
  answer.info = Value::dict(Value::symbols({"qsvr", "elapsed"}),
                            Value::list({Value::symbol("s1"), Value::long_atom(5)}));
  return answer;
}

ClientOptions asked_of(const std::string& broker) {
  ClientOptions options;
  options.broker = broker;
  return options;
}

TEST(Output, ShowsInfoAndResultAsTheConsoleDoes) {
  const Shown shown = show_answer(some_answer(), {.rows = 25, .columns = 80});
  EXPECT_EQ(shown.out, "--info--\nqsvr   | `s1\nelapsed| 5\n--result--\n1 2 3\n");
  EXPECT_EQ(shown.err, "");
}

TEST(Output, PromptAddsTheIdAndAnEmptyLine) {
  const Shown shown = show_answer(some_answer(), {.with_id = true, .rows = 25, .columns = 80});
  EXPECT_EQ(shown.out, "ID: 7\n--info--\nqsvr   | `s1\nelapsed| 5\n--result--\n1 2 3\n\n");
}

TEST(Output, QuietIsTheResultAlone) {
  EXPECT_EQ(show_answer(some_answer(), {.quiet = true, .with_id = true}).out, "1 2 3\n");
}

TEST(Output, JsonIsOneObject) {
  EXPECT_EQ(show_answer(some_answer(), {.json = true}).out,
            "{\"id\":7,\"info\":{\"qsvr\":\"s1\",\"elapsed\":5},\"result\":[1,2,3]}\n");
}

// -q was ignored.
TEST(Output, QuietJsonHasNoInfo) {
  EXPECT_EQ(show_answer(some_answer(), {.json = true, .quiet = true}).out,
            "{\"id\":7,\"result\":[1,2,3]}\n");
}

TEST(Output, ErrorsAreQuotedAsInQ) {
  Answer answer;
  answer.id = 2;
  answer.result = Value::error("unknown command: `system");
  const Shown plain = show_answer(answer, {});
  EXPECT_EQ(plain.out, "");
  EXPECT_EQ(plain.err.find("'unknown command: `system\n"), 0U);
  EXPECT_EQ(show_answer(answer, {.quiet = true}).err, "'unknown command: `system\n");
  EXPECT_EQ(show_answer(answer, {.json = true}).out,
            "{\"id\":2,\"error\":\"unknown command: `system\"}\n");
}

// These had no advice, or that of another fault.
TEST(Output, AnErrorsTextDrivesNoTerminal) {
  Answer answer;
  answer.result = Value::error("\x1b]0;pwn\a\x1b[2J\xc2\x9b");
  const Shown shown = show_answer(answer, {});
  for (const char c : {'\x1b', '\a', '\xc2', '\x9b'}) {
    EXPECT_EQ(shown.err.find(c), std::string::npos) << shown.err;
  }
  EXPECT_EQ(shown.err.find("'\\033]0;pwn"), 0U) << shown.err;
}

TEST(Output, ErrorsOfTheQuerySayWhatToDo) {
  const auto said = [](const char* error, const OutputStyle& style = {}) {
    Answer answer;
    answer.result = Value::error(error);
    return show_answer(answer, style).err;
  };
  for (const auto& [error, advice] : {std::pair{"parse", "proc1 `IBM"},
                                      {"type", "wrong type"},
                                      {"rank", "wrong number of arguments"},
                                      {"limit", "--max-message"},
                                      {"unknown command: \"1+1\"", "mserve-qshim evaluate q"},
                                      {"unknown command: `f", "No servant has a function"}}) {
    const std::string shown = said(error);
    EXPECT_EQ(shown.find("'" + std::string(error) + "\n"), 0U) << shown;
    EXPECT_NE(shown.find(advice), std::string::npos) << shown;
    EXPECT_EQ(said(error, {.quiet = true}), "'" + std::string(error) + "\n");
  }
  EXPECT_EQ(said("type of day"), "'type of day\n");
  const kdb::ParseLimits limits;
  const std::string limit = std::to_string(limits.text_bytes_max / 1024) + " KiB, nested " +
                            std::to_string(limits.depth_max) + " deep";
  EXPECT_NE(said("limit").find(limit), std::string::npos) << limit;
}

TEST(Output, FailuresSayWhatToDo) {
  const Shown plain = show_failure(3, Errc::busy, "", {});
  EXPECT_EQ(plain.out, "");
  EXPECT_EQ(plain.err, std::string("'busy\n") + advice(Errc::busy) + "\n");
  EXPECT_EQ(show_failure(3, Errc::busy, "", {.json = true}).out, "{\"id\":3,\"error\":\"busy\"}\n");
}

// It used to advise --allow-user, which is about users of this host.
TEST(Output, WhomAGatewayRefusesIsToldOfUserAndPassword) {
  const std::string there = show_no_session(Errc::access, "", asked_of("tcp://h:5000"), {}).err;
  EXPECT_NE(there.find("--user USER:PASSWORD"), std::string::npos) << there;
  EXPECT_EQ(there.find("--allow-user"), std::string::npos) << there;
  const std::string here = show_no_session(Errc::access, "", asked_of("default"), {}).err;
  EXPECT_NE(here.find("--socket-group and --allow-user"), std::string::npos) << here;
}

// It said 'no broker, and then "no broker" again.
TEST(Output, NoBrokerIsSaidOnceWithWhatToCheck) {
  ClientOptions asked = asked_of("default");
  const std::string detail = "no broker 'default' listens at /d/default.sock";
  EXPECT_EQ(show_no_session(Errc::no_broker, detail, asked, {}).err,
            "'" + detail + "\nStart the broker, or check --name and MSERVE_DIR.\n");
  asked.directory = "/d";
  EXPECT_EQ(show_no_session(Errc::no_broker, "cannot find /d", asked, {}).err,
            "'no broker\ncannot find /d\nStart the broker, or check --name and --dir.\n");
}

TEST(Output, WhatWasNotSentHasNoId) {
  const OutputStyle prompt{.with_id = true};
  EXPECT_EQ(show_failure(0, Errc::not_attached, "", prompt).out, "");
  EXPECT_EQ(show_failure(3, Errc::busy, "", prompt).out, "ID: 3\n");
}

TEST(Output, AdviceOnTimeIsTrueOfWhatNeverRanAsWell) {
  const std::string late = show_failure(3, Errc::timed_out, "", {}).err;
  EXPECT_NE(late.find("or never have begun: mserve-stat servants"), std::string::npos) << late;
  const std::string queued = show_failure(3, Errc::queue_timeout, "", {}).err;
  EXPECT_NE(queued.find("the broker's --queue-timeout"), std::string::npos) << queued;
}

TEST(Repeater, IsDueOncePerPeriodAndDropsWhatItMissed) {
  Repeater repeater(1);
  EXPECT_FALSE(repeater.due(1));
  repeater.set(10, 1'000'000);
  EXPECT_FALSE(repeater.due(10'999'999));
  EXPECT_TRUE(repeater.due(11'000'000));
  EXPECT_FALSE(repeater.due(11'000'001));
  EXPECT_TRUE(repeater.due(500'000'000));
  EXPECT_FALSE(repeater.due(500'000'001));
  EXPECT_TRUE(repeater.due(510'000'000));
  repeater.set(0, 510'000'000);
  EXPECT_FALSE(repeater.running());
  EXPECT_FALSE(repeater.due(999'000'000));
}

TEST(Repeater, AsksForEachSymbolSoonerOrLater) {
  Repeater repeater(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(repeater.next_query());
  }
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_TRUE(seen.contains("proc1 `IBM"));
}

/// Answers each query: `fail...` with an error, `busy` as the broker does, else with its own text.
void echo(test::FakeBroker& broker) {
  broker.read_requests();
  for (const auto& request : std::exchange(broker.received, {})) {
    const auto text = kdb::decode(request.payload);
    const std::string query(text.value().text_view().value_or(""));
    if (query.starts_with("fail")) {
      broker.answer(request.head.id, kdb::encode(Value::error(query)), Errc::failed);
    } else if (query == "busy") {
      broker.answer(request.head.id, "", Errc::busy);
    } else if (query == "die") {
      broker.die();
    } else if (query != "silence") {
      broker.answer(request.head.id, kdb::encode(text.value()));
    }
  }
}

struct Batch {
  Batch() : client(test::attached_core(broker)) {
    broker.meanwhile = [this] { echo(broker); };
    settings.style.quiet = true;
  }
  ExitCode lines(const std::string& text) {
    std::istringstream in(text);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const ExitCode code = run_lines(client, in, settings);
    out = testing::internal::GetCapturedStdout();
    err = testing::internal::GetCapturedStderr();
    return code;
  }
  test::FakeBroker broker;
  Client client;
  Settings settings;
  std::string out;
  std::string err;
};

TEST(Batch, EachLineIsAQueryOfItsOwn) {
  Batch batch;
  EXPECT_EQ(batch.lines("one\n\n/ remark\n  two  \n\\c 30 100\n\\c\n\\\\\nnever\n"), ExitCode::ok);
  EXPECT_EQ(batch.out, "\"one\"\n\"two\"\n30 100\n");
  EXPECT_EQ(batch.err, "");
}

TEST(Batch, AConsoleOutOfBoundsIsWrongUsage) {
  Batch batch;
  EXPECT_EQ(batch.lines("\\c 5 5\n"), ExitCode::usage);
  EXPECT_EQ(batch.err, console_refusal());
}

TEST(Batch, GoesOnAfterAnErrorAndReturnsTheFirst) {
  Batch batch;
  EXPECT_EQ(batch.lines("fail 1\nbusy\nlast"), ExitCode::error);
  EXPECT_EQ(batch.out, "\"last\"\n");
  EXPECT_TRUE(batch.err.starts_with("'fail 1\n'busy\n")) << batch.err;
}

TEST(Batch, StopsWhenTheBrokerIsGone) {
  Batch batch;
  EXPECT_EQ(batch.lines("die\nnever\n"), ExitCode::no_broker);
  EXPECT_EQ(batch.out, "");
  EXPECT_TRUE(batch.err.starts_with("'disconnected\n")) << batch.err;
}

TEST(Batch, TimesOutAndGoesOn) {
  Batch batch;
  batch.settings.timeout_ns = 5'000'000;
  EXPECT_EQ(batch.lines("silence\n"), ExitCode::timed_out);
  batch.settings.timeout_ns = 0;
  EXPECT_EQ(batch.lines("speech\n"), ExitCode::ok);
  EXPECT_EQ(batch.out, "\"speech\"\n");
}

}  // namespace
}  // namespace mserve::tool
