#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Goal: who starts mserve by Kubernetes or Slurm gets a broker with cores of its own that drains, from files whose every
#   flag this build knows.
# Method: reads the manifest and checks what the kubelet would (names, mounts, cores), runs the programs with its
#   arguments, and the batch script with a srun that is a stub. No cluster is needed. Exit status 77: skipped.
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import yaml
except ImportError:
    print("SKIPPED: no module yaml; apt-get install python3-yaml", file=sys.stderr)
    sys.exit(77)

source, binaries = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
deploy = source / "broker/deploy"


def check(holds, what):
    if not holds:
        sys.exit(f"FAILED: {what}")


def run(argv, **env):
    return subprocess.run(argv, env=os.environ | env, capture_output=True, text=True, timeout=60)


def seconds(text):
    check(text.endswith("s"), f"a time in seconds instead of {text}")
    return int(text[:-1])


def knows(container):
    """The program takes these arguments: with one more that it cannot know, that one alone is wrong."""
    argv = [str(binaries / container["command"][0])] + container["args"]
    told = run(argv + ["--no-such-flag"])
    check(told.returncode == 2 and "no-such-flag" in told.stderr, f"{argv}: {told.stderr}")


def kubernetes():
    documents = list(yaml.safe_load_all((deploy / "kubernetes.yaml").read_text()))
    check([d["kind"] for d in documents] == ["Namespace", "DaemonSet"], "a namespace and a daemon set")
    daemon = documents[1]
    template = daemon["spec"]["template"]
    check(daemon["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"], "the selector fits the pods")
    pod = template["spec"]
    volumes = {v["name"] for v in pod["volumes"]}
    for c in pod["containers"]:
        wants, most = c["resources"]["requests"], c["resources"]["limits"]
        check(wants == most, f"{c['name']}: requests are limits, or its pod is not Guaranteed")
        check(most["cpu"].isdigit(), f"{c['name']}: whole cores, or they are shared")
        check({m["name"] for m in c["volumeMounts"]} <= volumes, f"{c['name']}: mounts what there is")
        ports = {p["name"] for p in c.get("ports", [])}
        for probe in ("readinessProbe", "livenessProbe"):
            for way in ("httpGet", "tcpSocket"):
                if way in c.get(probe, {}):
                    check(c[probe][way]["port"] in ports, f"{c['name']}: {probe} asks a port of its own")
        knows(c)
    broker = pod["containers"][0]
    arguments = broker["args"]
    said = run([str(binaries / "mserve-broker")] + arguments + ["--check"])
    check(said.returncode == 0, said.stderr)
    drain = seconds(arguments[arguments.index("--drain-timeout") + 1])
    check(drain < pod["terminationGracePeriodSeconds"], "the pod waits for longer than the broker drains")
    check(str(broker["ports"][0]["containerPort"]) == arguments[arguments.index("-p") + 1], "the port it listens at")
    check(pod["shareProcessNamespace"], "the broker sees its servants' processes")


def slurm():
    script = deploy / "mserve.sbatch"
    check(run([script]).returncode == 2, "without a servant: usage")
    with tempfile.TemporaryDirectory() as stubs:
        srun = pathlib.Path(stubs) / "srun"
        srun.write_text('#!/bin/sh\nwhile [ "$1" != bash ]; do shift; done\nexec "$@"\n')
        broker = pathlib.Path(stubs) / "mserve-broker"
        broker.write_text(f'#!/bin/sh\nexec {binaries}/mserve-broker "$@" --check\n')
        for stub in (srun, broker):
            stub.chmod(0o755)
        said = run([script, "mserve-servant", "--rows", "1000"], PATH=f"{stubs}:{os.environ['PATH']}", SLURM_JOB_ID="7",
                   TMPDIR=stubs)
    check(said.returncode == 0, said.stderr)
    for line in ('command = "mserve-servant"', 'servant-args = "--rows 1000"', 'drain-timeout = "20s"'):
        check(line in said.stdout, f"{line} in\n{said.stdout}")


kubernetes()
slurm()
print("deploy: kubernetes.yaml and mserve.sbatch")
