// SPDX-License-Identifier: Apache-2.0
#include "document.hpp"

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "access/rules.hpp"
#include "mserve/kdb/utf8.hpp"
#include "option_keys.hpp"
#include "options_cli.hpp"

namespace mserve::broker {

namespace {

std::string shown(std::string fault) {
  fault.resize(std::min(fault.size(), kDocumentFaultBytesMax));
  for (char& c : fault) {
    c = c >= ' ' && c <= '~' ? c : '?';
  }
  return fault;
}

/// Of a document without other faults.
void check_tables(const Document& document, std::vector<std::string>& faults) {
  if (document.users) {
    (void)AccessRules::read({.users_table = document.users, .roles_table = document.roles}, faults);
  } else if (document.roles) {
    (void)Roles::parse(*document.roles, faults);
  }
}

}  // namespace

std::uint32_t line_without_utf8(std::string_view text) noexcept {
  std::uint32_t line = 1;
  while (!text.empty()) {
    const std::size_t bytes = kdb::utf8_sequence(text);
    if (bytes == 0) {
      return line;
    }
    line += text.front() == '\n' ? 1U : 0U;
    text.remove_prefix(bytes);
  }
  return 0;
}

Document parse_document(std::string_view text, const std::string& path,
                        std::vector<std::string>& faults) {
  Document document;
  if (const std::uint32_t line = line_without_utf8(text); line != 0) {
    faults.push_back(place_in(path, line) + "not valid UTF-8");
    return document;
  }
  for (FileEntry& entry : parse_options(text, path, faults)) {
    const bool users = entry.key == "users-table";
    if (!users && entry.key != "roles-table") {
      document.entries.push_back(std::move(entry));
    } else if (entry.text_line == 0) {
      faults.push_back(place_in(path, entry.line) + entry.key + ": expected a string, the table");
    } else {
      (users ? document.users : document.roles) = TableText{.text = std::move(entry.values.front()),
                                                            .path = path,
                                                            .name = entry.key,
                                                            .lines_before = entry.text_line - 1};
    }
  }
  return document;
}

std::string document_path(const std::string& directory, const std::string& name) {
  return directory + "/" + name + ".cluster.toml";
}

std::string staged_document_path(const std::string& directory, const std::string& name) {
  return directory + "/" + name + ".cluster.next.toml";
}

std::optional<Document> read_document(const std::string& path, std::vector<std::string>& faults) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 && errno == ENOENT) {
    return std::nullopt;
  }
  std::string text;
  if (const std::string fault =
          read_small_file(path, kDocumentBytesMax + kDocumentHeadBytesMax, text);
      !fault.empty()) {
    faults.push_back(place_in(path, 0) + fault);
    return std::nullopt;
  }
  const std::size_t before = faults.size();
  Document document = parse_document(text, path, faults);
  return faults.size() == before ? std::optional(std::move(document)) : std::nullopt;
}

std::vector<std::string> check_document(std::string_view text) {
  if (text.size() > kDocumentBytesMax) {
    return {"line 1: expected at most 256 KiB"};
  }
  std::vector<std::string> faults;
  const Document document = parse_document(text, "", faults);
  GivenOptions given;
  CLI::App app;
  add_options(app, given);
  OptionKeys keys(app);
  keys.apply(document.entries, "", OptionKeys::Scope::cluster, faults);
  std::ranges::move(given.rule_faults, std::back_inserter(faults));
  const bool readable = faults.empty();
  if (readable) {
    given.options.of_cluster = true;
    given.options.validate_changeable(faults);
  }
  for (std::string& fault : faults) {
    fault.insert(0, keys.place_of(fault));
  }
  if (readable) {
    check_tables(document, faults);
  }
  faults.resize(std::min(faults.size(), kDocumentFaultsMax));
  for (std::string& fault : faults) {
    fault = shown(std::move(fault));
  }
  return faults;
}

}  // namespace mserve::broker
