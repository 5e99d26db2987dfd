// SPDX-License-Identifier: Apache-2.0
#include "pin/machine_files.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace mserve::pin {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 4U << 20;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream stream{std::string(text)};
  return {std::istream_iterator<std::string>(stream), {}};
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(std::move(line));
  }
  return lines;
}

std::optional<std::string> MachineFiles::read(const std::string& path) const {
  std::ifstream file(root_ + path, std::ios::binary);
  if (!file) {
    return std::nullopt;
  }
  std::string text;
  char part[4096];
  while (text.size() < kFileBytesMax && (file.read(part, sizeof(part)) || file.gcount() > 0)) {
    text.append(part, static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad()) {
    return std::nullopt;
  }
  return text;
}

std::optional<std::string> MachineFiles::line(const std::string& path) const {
  const auto text = read(path);
  if (!text) {
    return std::nullopt;
  }
  return std::string(trimmed(std::string_view(*text).substr(0, text->find('\n'))));
}

std::optional<std::int64_t> MachineFiles::number(const std::string& path) const {
  const auto text = line(path);
  std::int64_t value = 0;
  if (!text) {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<CoreList> MachineFiles::cores(const std::string& path) const {
  const auto text = line(path);
  return text ? parse_cores(*text) : std::nullopt;
}

bool MachineFiles::exists(const std::string& path) const {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(root_ + path, ignored));
}

std::vector<std::string> MachineFiles::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(root_ + path, error), end; !error && at != end;
       at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> MachineFiles::link(const std::string& path) const {
  std::error_code error;
  const fs::path target = fs::read_symlink(root_ + path, error);
  if (error) {
    return std::nullopt;
  }
  return target.string();
}

}  // namespace mserve::pin
