// SPDX-License-Identifier: Apache-2.0
// mserve-cluster: keeps one broker in a cluster of several hosts.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/cluster.hpp"
#include "cluster/etcd_connection.hpp"
#include "control/launch_plan.hpp"
#include "control/log.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "option_values.hpp"
#include "options_cli_cluster.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace {

using mserve::cluster::ClusterOptions;
using mserve::cluster::ClusterSetup;

constexpr const char* kAbout =
    "Keeps one broker in a cluster: tells etcd that it is there and how busy it is, sees which\n"
    "others are, and runs a link (mserve-qshim --peer) to each of them, which serves what no\n"
    "servant here can; and brings it the document that all brokers of the cluster share, see\n"
    "mserve-stat ctl cluster. mserve-broker --cluster starts it by itself; by hand, beside a "
    "broker:\n\n"
    "  mserve-cluster --cluster http://127.0.0.1:2379 --advertise hostA:5000\n"
    "  mserve-cluster --cluster https://e1:2379,https://e2:2379 --cluster-ca ca.pem --zone a\n"
    "      --region eu --advertise hostA:5000";

constexpr const char* kFooter =
    "etcd is never on the way of a request. Without it brokers and links stay as they are, and\n"
    "what is known is marked stale.\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --name and --dir,\n"
    "MSERVE_LOG_FORMAT of --log-format; MSERVE_CLUSTER_PASSWORD is the password of\n"
    "--cluster-user.\n"
    "Signals: TERM and INT take the broker out of the cluster; links finish what they run.\n"
    "Exit status: 0 stopped by a signal, 1 could not start, 2 wrong usage.";

struct Given {
  std::string name = "default";
  std::string directory{};
  std::string shim{};
  bool json = false;
};

void describe(CLI::App& app, Given& given, ClusterOptions& options) {
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-cluster ") + mserve::kVersion);
  app.add_option("--name", given.name, "The broker's --name")
      ->envname("MSERVE_NAME")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", given.directory, "Rendezvous directory of the broker")
      ->envname("MSERVE_DIR")
      ->option_text("DIR [$MSERVE_DIR, else as mserve-broker]");
  mserve::broker::add_cluster(app, options);
  app.add_option("--shim", given.shim, "Program that is a link")
      ->option_text("FILE [mserve-qshim beside this program, else on PATH]");
  mserve::broker::add_choice<bool>(app, "--log-format", given.json,
                                   "What stderr gets: key=value lines, or one JSON object a line",
                                   {{"text", false}, {"json", true}})
      ->envname("MSERVE_LOG_FORMAT");
}

void tell(const std::string& fault) {
  (void)std::fprintf(stderr, "mserve-cluster: %s\n", fault.c_str());
}

/// The password of --cluster-user, which no child of ours shall see.
std::string password_of(const ClusterOptions& options, std::vector<std::string>& faults) {
  std::string password;
  if (!options.password_file.empty()) {
    std::string fault;
    password = mserve::cluster::read_secret(options.password_file, fault);
    if (!fault.empty()) {
      faults.push_back("--cluster-password-file: " + fault);
    }
  } else if (const char* const given = std::getenv("MSERVE_CLUSTER_PASSWORD")) {
    password = given;
  }
  if (!options.user.empty() && password.empty() && options.password_file.empty()) {
    faults.emplace_back(
        "--cluster-user: its password is missing: --cluster-password-file FILE, or "
        "MSERVE_CLUSTER_PASSWORD in the environment");
  }
  return password;
}

/// All that can be wrong before it runs.
std::vector<std::string> complete(const Given& given, ClusterSetup& setup) {
  ClusterOptions& options = setup.options;
  std::vector<std::string> faults;
  if (!mserve::shm::valid_broker_name(given.name)) {
    faults.emplace_back("--name: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot");
  }
  if (!options.enabled()) {
    faults.emplace_back("--cluster: say where etcd listens, such as http://127.0.0.1:2379");
    return faults;
  }
  options.complete(given.name, 0);
  options.validate(faults);
  setup.broker.name = given.name;
  setup.broker.directory = given.directory.empty()
                               ? mserve::shm::default_directory()
                               : std::filesystem::absolute(given.directory).string();
  setup.version = mserve::kVersion;
  setup.password = password_of(options, faults);
  const mserve::broker::PlanContext here = mserve::broker::plan_context(0);
  setup.links = {.shim = given.shim.empty() ? own_program("mserve-qshim", here) : given.shim,
                 .broker = setup.broker.name,
                 .directory = setup.broker.directory,
                 .stat = own_program("mserve-stat", here)};
  if (!options.login_file.empty()) {
    std::string fault;
    setup.links.login = mserve::cluster::read_secret(options.login_file, fault);
    if (!fault.empty()) {
      faults.push_back("--cluster-login: " + fault);
    }
  }
  const bool tls = std::any_of(options.endpoints.begin(), options.endpoints.end(),
                               [](const std::string& url) { return url.starts_with("https:"); });
  if (std::string fault; faults.empty() && tls) {
    setup.tls = mserve::cluster::TlsContext::load(options, fault);
    if (setup.tls == nullptr) {
      faults.push_back(fault);
    }
  }
  return faults;
}

}  // namespace

int main(int argc, char** argv) try {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  Given given;
  ClusterSetup setup;
  CLI::App app(kAbout, "mserve-cluster");
  describe(app, given, setup.options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return mserve::program::end_parsing(app, e, argc, argv);
  }
  const std::vector<std::string> faults = complete(given, setup);
  for (const std::string& fault : faults) {
    tell(fault);
  }
  if (!faults.empty()) {
    return 2;
  }
  mserve::broker::set_log_form({.json = given.json, .journal = mserve::shm::stderr_is_journal()});
  (void)setenv("MSERVE_LOG_FORMAT", given.json ? "json" : "text", 1);  // of the links
  (void)std::signal(SIGPIPE, SIG_IGN);  // a connection that broke is told by its next operation
  run_cluster(setup);
  return 0;
} catch (const std::exception& e) {
  (void)std::fprintf(stderr, "mserve-cluster: %s\n", e.what());
  return 1;
}
