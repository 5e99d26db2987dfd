// SPDX-License-Identifier: Apache-2.0
#include "access/table_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(kBlanks);
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
  });
}

/// Takes the quoted text that `line` starts with. @return false: it has no end.
bool take_quoted(std::string_view& line, std::string& text) {
  for (std::size_t at = 1; at < line.size(); ++at) {
    if (line[at] == '"' && line.substr(at + 1, 1) != "\"") {
      line.remove_prefix(at + 1);
      return true;
    }
    at += line[at] == '"' ? 1U : 0U;
    text += line[at];
  }
  return false;
}

}  // namespace

std::string place_in(const std::string& path, std::uint32_t line) {
  if (path.empty()) {
    return "line " + std::to_string(std::max(line, std::uint32_t{1})) + ": ";
  }
  return path + ":" + (line != 0 ? std::to_string(line) + ":" : "") + " ";
}

void AccessFaults::add(std::uint32_t line, const std::string& what) {
  if (++count_ <= kMax) {
    faults_.push_back(place_in(table_.path, line != 0 ? line : table_.lines_before) + what);
  }
}

std::string read_small_file(const std::string& path, std::size_t bytes_max, std::string& text) {
  const shm::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) {
    return std::strerror(errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return "expected a regular file";
  }
  if ((status.st_mode & S_IWOTH) != 0) {
    return "everybody can write to it: chmod o-w";
  }
  std::size_t size = 0;
  for (;;) {
    if (size > bytes_max) {
      constexpr std::size_t kMiB = std::size_t{1} << 20;
      return "expected at most " + (bytes_max >= kMiB ? std::to_string(bytes_max / kMiB) + " MiB"
                                                      : std::to_string(bytes_max >> 10) + " KiB");
    }
    constexpr std::size_t kStep = std::size_t{64} << 10;
    // One byte more, so that a file which grows meanwhile is told from one that just fits.
    text.resize(std::min(size + kStep, bytes_max + 1));
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return std::strerror(errno);
    }
    if (got == 0) {
      text.resize(size);
      return {};
    }
    size += static_cast<std::size_t>(got);
  }
}

std::optional<TableText> read_table(const std::string& path, std::vector<std::string>& faults) {
  TableText table{.path = path, .name = path};
  if (const std::string fault = read_small_file(path, kAccessFileBytesMax, table.text);
      !fault.empty()) {
    faults.push_back(place_in(path, 0) + fault);
    return std::nullopt;
  }
  return table;
}

std::vector<FileLine> lines_of(const TableText& table, AccessFaults& faults) {
  std::vector<FileLine> lines;
  std::string_view rest = table.text;
  if (rest.starts_with(kByteOrderMark)) {
    rest.remove_prefix(kByteOrderMark.size());
  }
  for (std::uint32_t number = table.lines_before + 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.size() > kAccessLineBytesMax || has_control(line)) {
      faults.add(number, "expected a line of text, of at most 64 KiB");
      return {};
    }
    if (!line.empty()) {
      lines.push_back({number, std::string(line)});
    }
  }
  return lines;
}

std::optional<std::vector<std::string>> split_fields(std::string_view line, char separator) {
  std::vector<std::string> fields;
  for (;;) {
    std::string field;
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.starts_with('"') && !take_quoted(line, field)) {
      return std::nullopt;
    }
    const std::size_t end = line.find(separator);
    field += trimmed(line.substr(0, end));
    fields.push_back(std::move(field));
    if (end == std::string_view::npos) {
      return fields;
    }
    line.remove_prefix(end + 1);
  }
}

char separator_of(std::string_view header) noexcept {
  return header.find('|') != std::string_view::npos ? '|' : ',';
}

std::optional<std::size_t> column_of(const std::vector<std::string>& header,
                                     std::initializer_list<std::string_view> names) {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (std::find(names.begin(), names.end(), header[i]) != names.end()) {
      return i;
    }
  }
  return std::nullopt;
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t kShownMax = 64;
  std::string shown(name.substr(0, kShownMax));
  for (char& c : shown) {
    c = c >= ' ' && c <= '~' ? c : '?';
  }
  return shown;
}

}  // namespace mserve::broker
