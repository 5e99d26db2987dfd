// SPDX-License-Identifier: Apache-2.0
#include "options_cli_cluster.hpp"

#include <CLI/CLI.hpp>

#include "option_values.hpp"

namespace mserve::broker {

namespace {

/// Peers hear of a drain from etcd and send nothing new from then on: within half a second, unless
/// etcd or a machine is busy.
constexpr Nanos kClusterDrainDelay = 2'000'000'000;

}  // namespace

void add_cluster(CLI::App& app, cluster::ClusterOptions& o) {
  app.add_option("--cluster", o.endpoints,
                 "Where etcd listens, which tells brokers of one another: http:// or https://, "
                 "several parted by commas, of which one that answers is used")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text("URL,... [no cluster]");
  app.add_option("--cluster-name", o.name, "Brokers of the same cluster find one another")
      ->capture_default_str()
      ->option_text("NAME [default]");
  app.add_option("--cluster-id", o.id, "Name of this broker, which no other of the cluster has")
      ->option_text("ID [HOST-NAME of this broker]");
  app.add_option("--zone", o.zone,
                 "Where it stands: peers of the same zone and region are taken first ...")
      ->option_text("NAME [none]");
  app.add_option("--region", o.region, "... then those of the same region, then the others")
      ->option_text("NAME [none]");
  app.add_option("--advertise", o.advertise, "Where its peers reach the port of its kdb+ clients")
      ->option_text("HOST:PORT [this host's name and -p]");
  add_duration(app, "--cluster-ttl", o.ttl_ns,
               "A broker that etcd has not heard of for this long is gone from the list; links "
               "notice a dead peer sooner. etcd may grant more",
               "2s");
  app.add_option("--cluster-ca", o.ca_file, "Certificates of whom to trust as etcd, with https://")
      ->option_text("FILE [whom the system trusts]");
  app.add_option("--cluster-cert", o.cert_file, "What to show etcd, with --cluster-key")
      ->option_text("FILE [nothing]");
  app.add_option("--cluster-key", o.key_file, "Its key")->option_text("FILE [none]");
  app.add_option("--cluster-user", o.user, "Who to log in to etcd as")
      ->option_text("USER [nobody]");
  app.add_option("--cluster-password-file", o.password_file,
                 "Its password, the first line; only its owner may be able to read the file")
      ->option_text("FILE [$MSERVE_CLUSTER_PASSWORD]");
  app.add_option("--cluster-login", o.login_file,
                 "USER:PASSWORD to say to the gateways of peers, the first line; only its owner "
                 "may be able to read the file")
      ->option_text("FILE [$MSERVE_Q_USER, else the login name]");
}

void complete_cluster(CLI::App& app, BrokerOptions& all) {
  if (all.cluster.enabled()) {
    all.cluster.complete(all.name, all.gateway.enabled ? all.gateway.port : 0);
    app.get_option("--cluster-id")->default_str(all.cluster.id);
    app.get_option("--advertise")->default_str(all.cluster.advertise);
    if (app.count("--drain-delay") == 0) {
      all.gateway.drain_delay = kClusterDrainDelay;
      app.get_option("--drain-delay")->default_str("2s");
    }
  }
}

}  // namespace mserve::broker
