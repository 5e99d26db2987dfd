# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The one list of Debian 12 packages that mserve needs, and the function that installs what is missing of
# it. To be sourced:   . broker/deploy/packages.sh && mserve_install_packages build test

# Prints the packages of the named groups, one a line.
mserve_packages() {
  local group
  for group in "$@"; do
    case "$group" in
      # To build everything, packages too; man pages and completions are made by Python. Boost in the version that also has JSON: libboost-dev would bring an older one.
      build) printf '%s\n' g++ cmake ninja-build python3 libboost1.81-dev libboost-json1.81-dev libcli11-dev \
        libfmt-dev libspdlog-dev libmimalloc-dev libconcurrentqueue-dev libbenchmark-dev libtomlplusplus-dev libedit-dev libssl-dev libcrypt-dev libhwloc-dev libsystemd-dev libseccomp-dev libncurses-dev libgtest-dev \
        dpkg-dev file ;;
      # To run the tests: the installation test asks pkg-config, strace sees forks, mandoc and groff read the man pages, yaml the manifest, etcd and etcdctl make a cluster.
      test) printf '%s\n' pkgconf strace mandoc groff-base python3-yaml etcd-server etcd-client ;;
      # To try Debian packages in a root of their own: tests/ci.sh package.
      package) printf '%s\n' lintian mmdebstrap ;;
      # For the other stages of CI: second compiler, sanitizers, linters.
      # HAProxy is what tests put in front of brokers; elsewhere they say that it is missing.
      ci) printf '%s\n' haproxy spin clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 shellcheck ;;
      # To look at the status page and its metrics: tests/ci.sh page. Group node belongs to it.
      page) printf '%s\n' chromium prometheus ;;
      # For what comes from npm: kdb+ clients, axe-core. See mserve_install_node.
      node) printf '%s\n' nodejs npm ;;
      # What `mserve-bench peers` measures mserve against: bench/setup.sh.
      peers) printf '%s\n' libzmq3-dev libnng-dev haproxy ;;
      *) echo "error: no group of packages is called $group" >&2; return 1 ;;
    esac
  done
}

# Prints those of the named groups that are not installed, one a line.
mserve_missing_packages() {
  local package
  while read -r package; do
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
      *' installed') ;;
      *) printf '%s\n' "$package" ;;
    esac
  done < <(mserve_packages "$@")
}

mserve_os_is_debian12() {
  (
    # shellcheck source=/dev/null
    . /etc/os-release
    [[ ${ID:-} == debian && ${VERSION_ID:-} == 12* ]]
  ) 2>/dev/null
}

# mserve_install_packages GROUP...
# Returns 0 when everything of the groups is there; otherwise says what to do and returns 1.
# Installing needs root or sudo. MSERVE_INSTALL=no trusts the machine as it is and installs nothing.
mserve_install_packages() {
  local missing root=() apt
  [[ ${MSERVE_INSTALL:-yes} != no ]] || return 0
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "error: there is no apt here, and only the packages of Debian 12 are known. Install what" >&2
    echo "  corresponds to: $(mserve_packages "$@" | paste -sd' '), then run with MSERVE_INSTALL=no" >&2
    return 1
  fi
  missing=$(mserve_missing_packages "$@" | paste -sd' ')
  [[ -n $missing ]] || return 0
  if ! mserve_os_is_debian12; then
    echo "error: this is not Debian 12. Install what corresponds to: $missing" >&2
    echo "  then run with MSERVE_INSTALL=no" >&2
    return 1
  fi
  if ((EUID != 0)); then
    root=(sudo)
    # Without a terminal nobody can type a password: fail at once instead of waiting for one.
    [[ -t 0 ]] || root+=(-n)
    echo "These packages are missing, installing them takes root: $missing" >&2
    if ! command -v sudo >/dev/null || ! "${root[@]}" true; then
      echo "error: not root, and sudo is missing or refused. Run this as root, then try again:" >&2
      echo "  apt-get update && apt-get install --no-install-recommends $missing" >&2
      return 1
    fi
  fi
  echo "Installing from Debian: $missing" >&2
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300
    -o Dpkg::Use-Pty=0)
  # Some other source of this machine may be out of reach while Debian's is not: the installation decides.
  "${root[@]}" "${apt[@]}" update </dev/null >&2 || echo "warning: apt-get update failed, going on" >&2
  # shellcheck disable=SC2086  # a list of package names, split on purpose
  if ! "${root[@]}" "${apt[@]}" install -y --no-install-recommends $missing </dev/null >&2; then
    echo "error: apt-get did not install the packages; its own message stands above" >&2
    return 1
  fi
}

# node and npm from wherever they are, else Debian's: hundreds of packages, so only CI installs them by itself.
mserve_install_node() {
  { command -v node && command -v npm; } >/dev/null || mserve_install_packages node
}
