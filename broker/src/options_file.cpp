// SPDX-License-Identifier: Apache-2.0
#include "options_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "access/table_file.hpp"
#include "toml.hpp"

namespace mserve::broker {

namespace {

/// More than a configuration has; a log or a disk given by mistake is not read into memory.
constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;

std::optional<std::string> text_of(const toml::node& node) {
  if (const auto* const text = node.as_string()) {
    return text->get();
  }
  if (const auto* const flag = node.as_boolean()) {
    return flag->get() ? "true" : "false";
  }
  if (const auto* const number = node.as_integer()) {
    return std::to_string(number->get());
  }
  if (const auto* const number = node.as_floating_point()) {
    std::ostringstream text;
    text << number->get();
    return text.str();
  }
  return std::nullopt;
}

/// Where the first line of a string's text stands; 0 of what is no string. A line break right
/// behind the quotes that begin it is none of its own, which shows in how many lines it takes.
std::uint32_t text_line_of(const toml::node& node) {
  const auto* const text = node.as_string();
  const std::uint32_t first = node.source().begin.line;
  if (text == nullptr) {
    return 0;
  }
  const auto breaks = std::count(text->get().begin(), text->get().end(), '\n');
  return static_cast<std::int64_t>(node.source().end.line) - first == breaks + 1 ? first + 1
                                                                                 : first;
}

/// Why it is not even opened; "" if it may be.
std::string distrust(const std::string& path, bool again) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return "";  // opening it says why
  }
  if (!S_ISREG(status.st_mode)) {
    return again ? "no regular file, which could be read again" : "";
  }
  return (status.st_mode & S_IWOTH) != 0 ? "everybody can write to it: chmod o-w" : "";
}

}  // namespace

std::vector<FileEntry> read_options_file(const std::string& path, bool again,
                                         std::vector<std::string>& faults) {
  if (const std::string reason = distrust(path, again); !reason.empty()) {
    faults.push_back(path + ": " + reason);
    return {};
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  if (!file || (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && file.bad())) {
    faults.push_back(path + ": cannot be read" +
                     (errno != 0 ? std::string(": ") + std::strerror(errno) : ""));
    return {};
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) {
    faults.push_back(path + ": larger than 1 MiB, which no configuration is");
    return {};
  }
  return parse_options(text, path, faults);
}

std::vector<FileEntry> parse_options(std::string_view text, const std::string& path,
                                     std::vector<std::string>& faults) {
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& e) {
    const std::string what(e.description());
    const bool bare = what.find("could not determine value type") != std::string::npos;
    faults.push_back(place_in(path, e.source().begin.line) + what +
                     (bare ? "; text needs quotes" : "") + " (column " +
                     std::to_string(e.source().begin.column) + "; what follows was not looked at)");
    return {};
  }
  std::vector<FileEntry> entries;
  for (const auto& [key, node] : table) {
    FileEntry entry{std::string(key.str()), {}, key.source().begin.line, text_line_of(node)};
    if (node.is_table()) {
      faults.push_back(place_in(path, entry.line) + entry.key +
                       ": there are no tables; write its keys by themselves, without that line");
      continue;
    }
    bool plain = true;
    if (const toml::array* const list = node.as_array()) {
      for (const toml::node& item : *list) {
        const auto value = text_of(item);
        plain = plain && value;
        entry.values.push_back(value.value_or(""));
      }
    } else {
      const auto value = text_of(node);
      plain = value.has_value();
      entry.values.push_back(value.value_or(""));
    }
    if (!plain) {
      faults.push_back(place_in(path, entry.line) + entry.key +
                       ": a string, a number, true, false or a list of these");
      continue;
    }
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const FileEntry& a, const FileEntry& b) { return a.line < b.line; });
  return entries;
}

}  // namespace mserve::broker
