// SPDX-License-Identifier: Apache-2.0
#include "plugin/plugin_file.hpp"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

namespace mserve::broker {

namespace {

// The tables are an interface to code that others compiled.
static_assert(offsetof(mserve_policy_table, abi) == 4 && offsetof(mserve_policy_table, name) == 8);
static_assert(offsetof(mserve_policy_table, create) == 16 && sizeof(mserve_policy_table) == 64);
static_assert(offsetof(mserve_route_table, abi) == 4 && offsetof(mserve_route_table, name) == 8);
static_assert(offsetof(mserve_route_table, route) == 16 && sizeof(mserve_route_table) == 24);
static_assert(sizeof(mserve_free_servant) == 24 && sizeof(mserve_text) == 16);
static_assert(offsetof(mserve_call, arguments) == 24 && sizeof(mserve_call) == 48);

constexpr std::size_t kNameBytesMax = 63;
constexpr std::string_view kBuildAgain = "build it again with this broker's mserve/plugin.h";

/// What is common to both kinds.
struct PluginKind {
  const char* flag;
  const char* symbol;
  const char* other_flag;
  const char* other_symbol;
};
constexpr PluginKind kPolicyPlugin{"--policy-plugin", "mserve_policy_plugin", "--route-plugin",
                                   "mserve_route_plugin"};
constexpr PluginKind kRoutePlugin{"--route-plugin", "mserve_route_plugin", "--policy-plugin",
                                  "mserve_policy_plugin"};

/// What stands first in the tables of every version.
struct TableFront {
  std::uint32_t size;
  std::uint32_t abi;
  const char* name;
};

struct Unload {
  void operator()(void* handle) const noexcept { (void)::dlclose(handle); }
};
using Handle = std::unique_ptr<void, Unload>;

/// Why others could change what lies at `path`; "" if they cannot.
std::string changeable_by_others(const std::string& path, const struct stat& status) {
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return path + " belongs to uid " + std::to_string(status.st_uid) +
           "; what runs in this process must belong to its user or to root";
  }
  // In a sticky directory nobody replaces a file that is not his.
  const bool sticky = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0;
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky) {
    return path +
           " may be written by others, and what it holds would run in this process: chmod go-w " +
           path;
  }
  return "";
}

/// Why the file is not loaded; "" if it may be. @param path  absolute, without links.
std::string distrust(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return path + ": " + std::generic_category().message(errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return path + " is no regular file";
  }
  std::string reason = changeable_by_others(path, status);
  // Whoever may rename a directory anywhere above puts a file of his own in this one's place.
  for (std::filesystem::path at = path; reason.empty() && at != at.root_path();) {
    at = at.parent_path();
    if (::lstat(at.c_str(), &status) != 0) {
      return at.string() + ": " + std::generic_category().message(errno);
    }
    reason = changeable_by_others(at.string(), status);
  }
  return reason;
}

/// A plugin's name, if it has one that can be shown.
std::string_view name_of(const TableFront& front) noexcept {
  if (front.size < sizeof(TableFront) || front.name == nullptr) {
    return {};
  }
  const std::string_view name(front.name, ::strnlen(front.name, kNameBytesMax + 1));
  const bool shown =
      !name.empty() && name.size() <= kNameBytesMax &&
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  return shown ? name : std::string_view{};
}

/// What is wrong with a table before its functions are looked at; "" if nothing is.
std::string front_fault(const TableFront& front, std::size_t wanted_bytes) {
  const std::string_view name = name_of(front);
  const std::string plugin = name.empty() ? "the plugin" : "plugin '" + std::string(name) + "'";
  if (front.abi != MSERVE_PLUGIN_ABI) {
    return plugin + " is made for plugin version " + std::to_string(front.abi) +
           ", this broker takes version " + std::to_string(MSERVE_PLUGIN_ABI) + ": " +
           std::string(kBuildAgain);
  }
  if (front.size < wanted_bytes) {
    return plugin + " has a table of " + std::to_string(front.size) + " bytes, of version " +
           std::to_string(MSERVE_PLUGIN_ABI) + " are " + std::to_string(wanted_bytes) +
           ": set size to sizeof the table, and " + std::string(kBuildAgain);
  }
  return name.empty() ? "the table's name is not 1 to 63 printable characters without blanks" : "";
}

/// The first function that a table leaves out, as a fault; "" if there is none.
std::string missing_function(const mserve_policy_table& table) {
  const struct {
    bool there;
    const char* name;
  } functions[] = {{table.create != nullptr, "create"}, {table.destroy != nullptr, "destroy"},
                   {table.renew != nullptr, "renew"},   {table.enter != nullptr, "enter"},
                   {table.leave != nullptr, "leave"},   {table.choose != nullptr, "choose"}};
  const auto* const missing = std::find_if(std::begin(functions), std::end(functions),
                                           [](const auto& f) { return !f.there; });
  return missing == std::end(functions) ? ""
                                        : "plugin '" + std::string(table.name) + "' leaves out " +
                                              missing->name + "(): all functions are needed";
}

std::string missing_function(const mserve_route_table& table) {
  return table.route != nullptr ? ""
                                : "plugin '" + std::string(table.name) +
                                      "' leaves out route(): all functions are needed";
}

/// @param fault  without the file's name.
template <class Table>
const Table* table_of(void* handle, const PluginKind& kind, std::string& fault) {
  void* const symbol = ::dlsym(handle, kind.symbol);
  if (symbol == nullptr) {
    fault = "exports no " + std::string(kind.symbol) + "()" +
            (::dlsym(handle, kind.other_symbol) != nullptr
                 ? ": it is one for " + std::string(kind.other_flag)
                 : "; see MSERVE_PLUGIN_EXPORT in mserve/plugin.h");
    return nullptr;
  }
  const auto get = reinterpret_cast<const Table* (*)()>(symbol);
  const Table* const table = get();
  if (table == nullptr) {
    fault = std::string(kind.symbol) + "() gives no table";
    return nullptr;
  }
  TableFront front{};
  std::memcpy(&front, table, sizeof(front));
  fault = front_fault(front, sizeof(Table));
  if (fault.empty()) {
    fault = missing_function(*table);
  }
  return fault.empty() ? table : nullptr;
}

std::string create_fault(const mserve_policy_table& table, std::uint32_t servants_max) {
  void* const state = table.create(servants_max);
  if (state == nullptr) {
    return "plugin '" + std::string(table.name) + "': create(" + std::to_string(servants_max) +
           ") gives nothing";
  }
  table.destroy(state);
  return "";
}

/// @param further  looks at a table that is complete and says what is wrong with it.
template <class Table, class Further>
const Table* load(const std::string& file, const PluginKind& kind, std::vector<std::string>& faults,
                  Further further) {
  const auto refuse = [&](const std::string& reason) -> const Table* {
    faults.push_back(std::string(kind.flag) + ": " + reason);
    return nullptr;
  };
  std::error_code error;
  const std::string path = std::filesystem::canonical(file, error).string();
  if (error) {
    return refuse(file + ": " + error.message());
  }
  if (const std::string reason = distrust(path); !reason.empty()) {
    return refuse(reason);
  }
  Handle handle(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (handle == nullptr) {
    const char* const reason = ::dlerror();
    return refuse("cannot load " + (reason != nullptr ? std::string(reason) : path));
  }
  std::string fault;
  const Table* const table = table_of<Table>(handle.get(), kind, fault);
  if (table != nullptr) {
    fault = further(*table);
  }
  if (!fault.empty()) {
    return refuse(path + ": " + fault);
  }
  (void)handle.release();  // stays loaded
  return table;
}

}  // namespace

const mserve_policy_table* load_policy_plugin(const std::string& file, std::uint32_t servants_max,
                                              std::vector<std::string>& faults) {
  return load<mserve_policy_table>(file, kPolicyPlugin, faults,
                                   [servants_max](const mserve_policy_table& table) {
                                     return create_fault(table, servants_max);
                                   });
}

const mserve_route_table* load_route_plugin(const std::string& file,
                                            std::vector<std::string>& faults) {
  return load<mserve_route_table>(file, kRoutePlugin, faults,
                                  [](const mserve_route_table&) { return std::string(); });
}

}  // namespace mserve::broker
