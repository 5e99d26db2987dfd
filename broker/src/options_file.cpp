// SPDX-License-Identifier: Apache-2.0
#include "options_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>
#include <sstream>

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

std::string at(const std::string& path, std::uint32_t line) {
  return path + ":" + std::to_string(line) + ": ";
}

/// Letters to change, add, leave out or swap with their neighbour to get from one to the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  std::vector<std::size_t> next(b.size() + 1);
  for (std::size_t i = 0; i < a.size(); ++i) {
    next[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      next[j + 1] = std::min({row[j] + (a[i] == b[j] ? 0U : 1U), row[j + 1] + 1, next[j] + 1});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j]) {
        next[j + 1] = std::min(next[j + 1], before[j - 1] + 1);
      }
    }
    before.swap(row);
    row.swap(next);
  }
  return row.back();
}

}  // namespace

std::vector<FileEntry> read_options_file(const std::string& path,
                                         std::vector<std::string>& faults) {
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
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& e) {
    faults.push_back(at(path, e.source().begin.line) + std::string(e.description()));
    return {};
  }
  std::vector<FileEntry> entries;
  for (const auto& [key, node] : table) {
    FileEntry entry{std::string(key.str()), {}, key.source().begin.line};
    if (node.is_table()) {
      faults.push_back(at(path, entry.line) + entry.key +
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
      faults.push_back(at(path, entry.line) + entry.key +
                       ": a string, a number, true, false or a list of these");
    }
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const FileEntry& a, const FileEntry& b) { return a.line < b.line; });
  return entries;
}

std::string nearest_key(std::string_view key, const std::vector<std::string>& keys) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, key.size() / 3) + 1;
  for (const std::string& candidate : keys) {
    const std::size_t d = distance(key, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace mserve::broker
