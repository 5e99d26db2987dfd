#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The status page in a browser, and the metrics as Prometheus reads them; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/page/run.sh BIN [OUTPUT]

Starts a broker with demo servants and `mserve-stat serve` from the executables in the folder BIN, and
  * shows the page in headless Chromium: desktop, phone, dark; by keyboard; while the broker goes, comes back and is stopped
  * lets axe-core (from npm, by the lock file, below BIN/../page) look for what a screen reader could not read
  * lets promtool read /metrics, the alerts with their tests, and what the Grafana dashboard asks for
Pictures go to the folder OUTPUT, by default BIN/../page/shots. What is missing is said, and the rest is done all the same.
Exit status: 0 passed, 1 failed, 77 skipped because node is not there.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
(($# == 1 || $# == 2)) || { usage >&2; exit 2; }
bin=$(realpath "$1")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
deploy=$here/../../broker/deploy
installed=$(realpath -m "$bin/../page")
output=$(realpath -m "${2:-$installed/shots}")

missing() {
  printf '\nMISSING: %s\nMISSING: nothing was shown about %s.\n\n' "$1" "$2"
}

# Sets `axe` to axe-core's file; empty when it is not there.
install_axe() {
  local log="$installed/npm.log" stamp="$installed/installed.lock"
  axe="$installed/node_modules/axe-core/axe.min.js"
  mkdir -p "$installed"
  if cmp -s "$here/package-lock.json" "$stamp"; then return; fi
  if ! command -v npm >/dev/null; then
    missing "npm is not installed" "accessibility"
    axe=
    return
  fi
  cp "$here/package.json" "$here/package-lock.json" "$installed/"
  if ! npm ci --prefix "$installed" --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries 1 >"$log" 2>&1; then
    cat "$log"
    if ! grep -qE 'EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT' "$log"; then
      echo "error: npm could not install what package-lock.json names" >&2
      exit 1
    fi
    missing "npm reaches no registry" "accessibility"
    axe=
    return
  fi
  cp "$here/package-lock.json" "$stamp"
}

# Lets promtool read what page.js kept, alerts and dashboard.
check_metrics() {
  local rules="$output/rules"
  node "$here/metrics.js" "$output/metrics.txt" "$deploy/grafana-dashboard.json" "$deploy/prometheus-rules.yml" "$output/asked.json"
  if ! command -v promtool >/dev/null; then
    missing "promtool is not installed (package prometheus)" "the format of metrics and alerts"
    return
  fi
  promtool check metrics <"$output/metrics.txt"
  mkdir -p "$rules"
  cp "$deploy/prometheus-rules.yml" "$here/rules_test.yml" "$rules/"
  promtool check rules "$rules/prometheus-rules.yml" "$output/asked.json"
  (cd "$rules" && promtool test rules rules_test.yml)
}

if ! command -v node >/dev/null; then
  missing "node is not installed" "the page"
  exit 77
fi
mkdir -p "$output"
chromium=$(command -v chromium || command -v chromium-browser || true)
axe=
if [[ -n $chromium ]]; then
  install_axe
else
  missing "chromium is not installed" "the page"
fi
node "$here/page.js" "$bin" "$output" "$chromium" "$axe"
check_metrics
echo "page and metrics: passed"
