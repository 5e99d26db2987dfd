#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: systemd understands the units, and the drop-ins that mserve-pin writes for them.
# Method: systemd-analyze verify, on copies that name the executables of this build. Exit status 77: skipped.
set -euo pipefail

if (($# != 2)); then
  echo "usage: tests/deploy/units.sh SOURCE_DIR BIN_DIR   (ctest passes these)" >&2
  exit 2
fi
units=$1/broker/deploy/systemd bin=$2
if ! command -v systemd-analyze >/dev/null; then
  echo "SKIPPED: systemd-analyze is not here; apt-get install systemd" >&2
  exit 77
fi

temporary=$(mktemp -d /tmp/mserve-units.XXXXXX)
trap 'rm -rf "$temporary"' EXIT
for unit in "$units"/mserve*.slice "$units"/mserve*.service; do
  sed "s|^ExecStart=mserve-|ExecStart=$bin/mserve-|" "$unit" >"$temporary/${unit##*/}"
done
"$bin/mserve-pin" plan --servants 2 --q --topology "$1/tests/data/two_sockets.xml" --systemd "$temporary" -o "$temporary/plan"
# An instance of each template.
verify() {
  SYSTEMD_UNIT_PATH=$temporary: systemd-analyze verify --man=no "$@" >"$temporary/log" 2>&1 || status=$?
  # What other units of this machine are blamed for is not ours.
  if ((${status:-0} != 0)) || grep -F mserve "$temporary/log"; then
    cat "$temporary/log" >&2
    echo "FAILED: systemd-analyze verify $*" >&2
    exit 1
  fi
}
cd "$temporary"
for unit in mserve.slice mserve-broker.service mserve-servant@1.service mserve-qshim@2.service mserve-stat.service; do
  verify "$temporary/$unit"
  echo "  $unit"
done
# Each starts again for as long as it takes; a private /tmp would hide q's socket from its shim.
for unit in mserve-servant@.service mserve-qshim@.service; do
  grep -qx 'StartLimitIntervalSec=0' "$temporary/$unit" || { echo "FAILED: $unit gives up after a few starts" >&2; exit 1; }
  if grep -q '^PrivateTmp=' "$temporary/$unit"; then
    echo "FAILED: $unit has a /tmp of its own" >&2
    exit 1
  fi
done
# The shim's target may be either: it is read, and goes with what the unit adds by itself.
shim=$(sed -n 's/^ExecStart=//p' "$temporary/mserve-qshim@.service")
for target in '--q :1' '--q-socket 1'; do
  told=$(MSERVE_ARGS='' MSERVE_TARGET="$target --no-such-flag" bash -c "$shim" 2>&1 || true)
  if ! grep -q 'no-such-flag' <<<"$told"; then
    echo "FAILED: mserve-qshim@.service with MSERVE_TARGET=$target: $told" >&2
    exit 1
  fi
done
# It does look, into drop-ins too: a key that there is not is told.
for file in mserve-broker.service mserve-servant@1.service.d/10-cores.conf; do
  echo 'NoSuchKey=1' >>"$temporary/$file"
  if (verify "$temporary/${file%.d/*}") >/dev/null 2>&1; then
    echo "FAILED: $file with a wrong key passes" >&2
    exit 1
  fi
done
