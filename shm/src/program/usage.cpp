// SPDX-License-Identifier: Apache-2.0
#include "usage.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <vector>

#include "nearest.hpp"
#include "wrap.hpp"

namespace mserve::program {

namespace {

using Chain = std::vector<const CLI::App*>;

/// The program and the subcommands that were given, one within the other.
Chain chain_of(const CLI::App& app) {
  Chain chain{&app};
  while (!chain.back()->get_subcommands().empty()) {
    chain.push_back(chain.back()->get_subcommands().back());
  }
  return chain;
}

std::vector<const CLI::Option*> options_of(const Chain& chain) {
  std::vector<const CLI::Option*> all;
  for (const CLI::App* const app : chain) {
    for (const CLI::Option* const option : app->get_options()) {
      all.push_back(option);
    }
  }
  return all;
}

const CLI::Option* find_flag(const Chain& chain, const std::string& flag) {
  for (const CLI::App* const app : chain) {
    if (const CLI::Option* const option = app->get_option_no_throw(flag); option != nullptr) {
      return option;
    }
  }
  return nullptr;
}

/// A flag that there is none of, which CLI11 takes for an argument. @return what to say of it;
/// empty when each is one.
std::string unknown_flag(const Chain& chain, int argc, const char* const* argv) {
  bool is_value = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word(argv[i]);
    const std::string flag(word.substr(0, word.find('=')));
    if (word == "--") {
      break;
    }
    const CLI::Option* const option = word.starts_with('-') ? find_flag(chain, flag) : nullptr;
    const bool letter = flag.size() == 2 && flag[0] == '-' && flag[1] >= 'A';
    if (!is_value && option == nullptr && letter) {
      return "there is no option " + flag;
    }
    if (!is_value && option == nullptr && flag.starts_with("--") &&
        flag.find(' ') == std::string::npos) {
      std::vector<std::string> flags;
      for (const CLI::Option* const one : options_of(chain)) {
        for (const std::string& name : one->get_lnames()) {
          flags.push_back(name);
        }
      }
      const std::string nearest = nearest_word(flag.substr(2), flags);
      return "there is no option " + flag + (nearest.empty() ? "" : "; is it --" + nearest + "?");
    }
    is_value = !is_value && option != nullptr && option->get_expected_max() > 0 && flag == word;
  }
  return "";
}

/// The variable of the environment that an option's value came from; empty: the command line has
/// it.
std::string variable_of(const CLI::Option& option, const Chain& chain, int argc,
                        const char* const* argv) {
  const std::string& name = option.get_envname();
  if (name.empty() || std::getenv(name.c_str()) == nullptr) {
    return "";
  }
  const bool given = std::any_of(argv + std::min(argc, 1), argv + argc, [&](const char* word) {
    const std::string_view text(word);
    return text.starts_with('-') &&
           find_flag(chain, std::string(text.substr(0, text.find('=')))) == &option;
  });
  return given ? "" : name;
}

/// What stands where a subcommand of the last one should. An outer one may have taken it for an
/// argument of its own.
std::vector<std::string> typed_behind(const Chain& chain, int argc, const char* const* argv) {
  if (std::vector<std::string> typed = chain.back()->remaining(); !typed.empty()) {
    return typed;
  }
  const char* const* const end = argv + argc;
  const char* const* at = argv;
  for (auto app = std::next(chain.begin()); app != chain.end() && at != end; ++app) {
    at = std::find(std::next(at), end, (*app)->get_name());
  }
  return at != end && std::next(at) != end ? std::vector<std::string>{*std::next(at)}
                                           : std::vector<std::string>{};
}

/// A subcommand that is none, or missing. @return what to say; empty: none is needed.
std::string missing_subcommand(const Chain& chain, int argc, const char* const* argv) {
  const CLI::App& last = *chain.back();
  if (last.get_require_subcommand_min() == 0) {
    return "";
  }
  std::vector<std::string> words;
  std::string all;
  for (const CLI::App* const one : last.get_subcommands([](const CLI::App*) { return true; })) {
    if (!one->get_group().empty()) {  // else it is hidden
      words.push_back(one->get_name());
      all += (all.empty() ? "" : ", ") + words.back();
    }
  }
  const std::string unknown = unknown_subcommand(typed_behind(chain, argc, argv), words);
  const std::string where = chain.size() > 1 ? last.get_name() + ": " : "";
  return where + (unknown.empty() ? "a command is missing; commands are: " + all : unknown);
}

/// The option that CLI11 complains of; null: of none.
const CLI::Option* option_in(const Chain& chain, std::string_view what) {
  constexpr std::string_view kConversion = "Could not convert: ";
  if (what.starts_with(kConversion)) {
    what.remove_prefix(kConversion.size());
  }
  for (const CLI::Option* const option : options_of(chain)) {
    const std::string name = option->get_name();
    if (what.starts_with(name) && what.size() > name.size() &&
        (what[name.size()] == ':' || what[name.size()] == ' ')) {
      return option;
    }
  }
  return nullptr;
}

/// As --help shows it, without the default.
std::string expected_by(const CLI::Option& option) {
  const std::string text = option.get_option_text();
  const std::string form = text.substr(0, text.find(" ["));
  const std::string type = option.get_type_name();
  const std::string kind = type.starts_with("FLOAT")                             ? "a number"
                           : type.starts_with("UINT") || type.starts_with("INT") ? "a whole number"
                                                                                 : "";
  if (form.empty() || form.starts_with('[')) {
    return kind.empty() ? "another value" : kind;
  }
  return form.find('|') != std::string::npos || kind.empty() ? form : form + ", " + kind;
}

/// "1000000000.000000" is 1000000000.
std::string without_zeros(std::string text) {
  for (std::size_t dot = text.find('.'); dot != std::string::npos; dot = text.find('.', dot + 1)) {
    std::size_t end = dot + 1;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') {
      ++end;
    }
    std::size_t keep = end;
    while (keep > dot + 1 && text[keep - 1] == '0') {
      --keep;
    }
    keep = keep == dot + 1 ? dot : keep;
    text.erase(keep, end - keep);
  }
  return text;
}

}  // namespace

std::string value_fault(const CLI::Option& option, const std::string& what) {
  constexpr std::string_view kRange = " not in range ";
  const std::string value = CLI::detail::join(option.results(), " ");
  if (const std::string name = option.get_name() + ": there is no subcommand ";
      what.starts_with(name)) {
    return what.substr(option.get_name().size() +
                       2);  // of a word that does not look like an option
  }
  if (option.results().empty() || what.find('\'') != std::string::npos) {
    return what;  // of ours, and says it all
  }
  const std::size_t range = what.find(kRange);
  std::string bounds = range == std::string::npos
                           ? ""
                           : " from " + without_zeros(what.substr(range + kRange.size()));
  constexpr std::size_t kDigitsMax = 20;
  if (const std::size_t to = bounds.find(" to "); bounds.size() - to > kDigitsMax) {
    bounds.resize(std::min(to, bounds.size()));  // the largest number there is
  }
  return option.get_name() + ": expected " + expected_by(option) + bounds + ", not '" + value + "'";
}

std::string usage_fault(const CLI::App& app, const CLI::ParseError& e, int argc,
                        const char* const* argv) {
  const Chain chain = chain_of(app);
  if (std::string text = unknown_flag(chain, argc, argv); !text.empty()) {
    return text;
  }
  if (std::string text = missing_subcommand(chain, argc, argv); !text.empty()) {
    return text;
  }
  const std::string what = e.what();
  const auto code = static_cast<CLI::ExitCodes>(e.get_exit_code());
  const CLI::Option* const option = option_in(chain, what);
  if (code == CLI::ExitCodes::ExtrasError) {
    const std::vector<std::string> extra = app.remaining(/*recurse=*/true);
    return extra.empty() ? what : "'" + extra.front() + "' is one argument too many";
  }
  if (code == CLI::ExitCodes::RequiredError && option != nullptr) {
    return option->get_name() + " is missing";
  }
  if (code == CLI::ExitCodes::ArgumentMismatch && option != nullptr) {
    return option->get_name() + ": its value is missing; expected " + expected_by(*option);
  }
  if (option == nullptr) {
    return what;
  }
  const std::string fault = value_fault(*option, what);
  const std::string variable = variable_of(*option, chain, argc, argv);
  return variable.empty() || !fault.starts_with(option->get_name())
             ? fault
             : variable + fault.substr(option->get_name().size());
}

int end_parsing(const CLI::App& app, const CLI::ParseError& e, int argc, const char* const* argv,
                const std::string& hint) {
  if (e.get_exit_code() == 0) {
    std::ostringstream help;
    const int status = app.exit(e, help);
    const std::size_t width = terminal_width();
    std::cout << (width != 0 ? wrapped_help(help.str(), width) : help.str()) << std::flush;
    return status;
  }
  std::cerr << app.get_name() << ": " << usage_fault(app, e, argc, argv)
            << (hint.empty() ? "" : "; ") << hint << "\nRun with --help for more information.\n";
  return 2;
}

void tell_faults(const char* program, std::string_view faults) {
  while (!faults.empty()) {
    const std::string_view line = faults.substr(0, faults.find('\n'));
    faults.remove_prefix(std::min(line.size() + 1, faults.size()));
    std::cerr << program << ": " << line << '\n';
  }
  std::cerr << "Run with --help for more information.\n";
}

std::string shell_word(std::string_view word) {
  std::string text = "'";
  for (const char c : word) {
    text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return text + "'";
}

std::string to_bytes(std::string& text) {
  static const CLI::AsSizeValue size(false);
  const std::string given = text;
  try {
    if (size(text).empty()) {
      return {};
    }
  } catch (const CLI::ValidationError&) {  // it names no option
  }
  return "'" + given + "' is not a size such as 4096, 64k, 1m or 2g";
}

}  // namespace mserve::program
