// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
class Option;
class ParseError;
}  // namespace CLI

// How programs of ours take a command line, the same in all of them. For executables: no library
// has it.
namespace mserve::program {

/// What is wrong with a command line: the option with its value and what is expected there; of an
/// option or a subcommand that there is none of, the nearest.
/// @param app  parsed `argv`, and threw `e`, which is neither help nor version.
/// @return one sentence, without the program's name.
[[nodiscard]] std::string usage_fault(const CLI::App& app, const CLI::ParseError& e, int argc,
                                      const char* const* argv);

/// What is wrong with a value that an option was given, in the same words.
/// @param what  of the exception that the option threw at it.
[[nodiscard]] std::string value_fault(const CLI::Option& option, const std::string& what);

/// Prints help or version to stdout where `e` asks for it, wrapped if that is a terminal, else the
/// fault behind the program's name to stderr. @param hint  what the program adds to the fault.
/// @return the exit status: 0, or 2.
[[nodiscard]] int end_parsing(const CLI::App& app, const CLI::ParseError& e, int argc,
                              const char* const* argv, const std::string& hint = "");

/// Prints faults of options, one a line, to stderr, each behind the program's name.
void tell_faults(const char* program, std::string_view faults);

/// A word in quotes, as a POSIX shell takes it.
[[nodiscard]] std::string shell_word(std::string_view word);

/// A size such as 4096, 64k, 1m or 2g into bytes, in place; for CLI::Validator, which adds the name
/// of the option. @return what is wrong; empty: nothing.
[[nodiscard]] std::string to_bytes(std::string& text);

}  // namespace mserve::program
