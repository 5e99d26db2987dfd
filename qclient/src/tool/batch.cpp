// SPDX-License-Identifier: Apache-2.0
#include "tool/batch.hpp"

#include <iostream>
#include <string>

#include "mserve/client/query.hpp"
#include "tool/command.hpp"
#include "tool/output.hpp"

namespace mserve::tool {
namespace {

void print(const Shown& shown) {
  std::cout << shown.out << std::flush;
  std::cerr << shown.err << std::flush;
}

ExitCode print_failure(Client& client, std::uint64_t id, Errc code, const Settings& settings) {
  const bool lost = code == Errc::disconnected || code == Errc::not_attached;
  print(show_failure(id, code, lost ? client.last_failure() : "", settings.style));
  return exit_code_of(code);
}

/// Lines that are no queries. @return false to stop reading.
bool run_command(const Command& command, Settings& settings, ExitCode& code) {
  switch (command.kind) {
    case Command::Kind::quit:
      return false;
    case Command::Kind::help:
      std::cout << command_help();
      return true;
    case Command::Kind::console_set:
      settings.style.rows = command.first;
      settings.style.columns = command.second;
      return true;
    case Command::Kind::console_show: {
      const kdb::Console console = console_of(settings.style);
      std::cout << console.height << ' ' << console.width << '\n';
      return true;
    }
    case Command::Kind::nothing:
      return true;
    case Command::Kind::console_refused:
      std::cerr << console_refusal();
      code = ExitCode::usage;
      return true;
    case Command::Kind::timer_set:
    case Command::Kind::timer_show:
      std::cerr << "'\\t is for the prompt on a terminal\n";
      code = ExitCode::usage;
      return true;
    default:
      std::cerr << "'no such command here; \\? lists them\n";
      code = ExitCode::usage;
      return true;
  }
}

}  // namespace

ExitCode run_query(Client& client, std::string_view text, const Settings& settings) {
  const QueryOptions options{.want_info = !settings.style.quiet, .repeatable = settings.repeatable};
  const std::uint64_t deadline_ns = settings.deadline_ns();
  const Query made = make_query(text, client);
  const auto sent = send_query(client, made, options, deadline_ns);
  if (!sent) {
    return print_failure(client, 0, sent.error().code, settings);
  }
  Reply reply;
  if (const Errc code = client.await(sent.value(), reply, deadline_ns); code != Errc::ok) {
    (void)client.cancel(sent.value());
    return print_failure(client, sent.value(), code, settings);
  }
  const auto answer = answer_of(reply, made.route_text);
  if (!answer) {
    return print_failure(client, sent.value(), answer.error().code, settings);
  }
  print(show_answer(answer.value(), settings.style));
  return answer.value().is_error() ? ExitCode::error : ExitCode::ok;
}

ExitCode run_lines(Client& client, std::istream& in, const Settings& settings) {
  Settings current = settings;
  ExitCode first = ExitCode::ok;
  std::string line;
  while (std::getline(in, line)) {
    const Command command = parse_command(line);
    ExitCode code = ExitCode::ok;
    if (command.kind == Command::Kind::query) {
      code = run_query(client, trimmed(line), current);
    } else if (!run_command(command, current, code)) {
      break;
    }
    first = first == ExitCode::ok ? code : first;
    if (code == ExitCode::no_broker) {
      break;
    }
  }
  return first;
}

}  // namespace mserve::tool
