// SPDX-License-Identifier: Apache-2.0
// Options by the keys that they have in TOML files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "options_file.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
class Option;
}  // namespace CLI

namespace mserve::broker {

/// The key of an option; "" where it has none.
[[nodiscard]] std::string key_of(const CLI::Option& option);

/// Whether what this key says may change while the broker runs.
[[nodiscard]] bool is_changeable(std::string_view key) noexcept;

/// A value as TOML: a number, true, false or a string in quotes.
[[nodiscard]] std::string as_toml(const std::string& value);

/// What holds for an option, as TOML, one spelling for each value, so that two readings can be
/// compared; "" where it was not given and has no default.
[[nodiscard]] std::string value_of(const CLI::Option& option);

/// Applies what files say to options, where nothing more important has said something yet.
class OptionKeys {
 public:
  /// Whose keys a file may have.
  enum class Scope : std::uint8_t {
    broker,   ///< Of one broker: all.
    cluster,  ///< Of all brokers of a cluster: those that may change while a broker runs.
  };
  /// Faults after which the rest is not looked at: a wrong file may have thousands.
  static constexpr std::size_t kFaultsMax = 20;

  /// @param app  with all its options; outlives this.
  explicit OptionKeys(CLI::App& app);

  /// @param path    of the file, see place_in().
  /// @param faults  gets one for each entry that is wrong, kFaultsMax at most.
  void apply(std::vector<FileEntry> entries, const std::string& path, Scope scope,
             std::vector<std::string>& faults);

  /// Where stands what is at fault: "FILE:LINE: ", or "" if no file said it. A fault begins with
  /// its flags.
  [[nodiscard]] std::string place_of(std::string_view fault) const;

  /// Whether a fault may come from what stood there for a key that could not be read.
  [[nodiscard]] bool in_doubt(std::string_view fault) const;

 private:
  void apply(CLI::Option& option, FileEntry& entry, const std::string& where,
             std::vector<std::string>& faults);
  [[nodiscard]] std::string unknown(const std::string& key, Scope scope);

  std::map<std::string, CLI::Option*> options_;  // by key
  std::map<std::string, std::string> places_;    // of each key that a file sets
  std::set<std::string> doubtful_;               // keys whose values are not what was meant
};

}  // namespace mserve::broker
