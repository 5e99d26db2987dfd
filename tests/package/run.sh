#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: what CPack makes of a build can be installed in a bare Debian 12, works there, and leaves nothing behind.
# Method: make the packages, ask lintian, install them in a throw-away root with what they depend on, run broker,
#         servants and client as the package's user, remove and purge. Where a root cannot be made (no root, no mmdebstrap
#         or debootstrap, no Debian in reach, no mount namespaces) says so, and tries what was unpacked instead.
set -euo pipefail
shopt -s nullglob

if (($# != 2)); then
  echo "usage: tests/package/run.sh SOURCE_DIR BUILD_DIR   (a finished build; tests/ci.sh package passes these)" >&2
  exit 2
fi
source_dir=$1 build_dir=$2
consumer_dir=$source_dir/tests/install/consumer

temporary=$(mktemp -d /tmp/mserve-package.XXXXXX)
root=$temporary/root
root_maker=
clean_up() {
  # It would go on writing there; it ends by itself.
  [[ -z $root_maker ]] || wait "$root_maker" || true
  # Nothing is mounted outside the namespaces of in_root, so nothing but our own files goes.
  rm -rf --one-file-system "$temporary"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() { echo "FAILED: $*" >&2; exit 1; }
step() { printf '== %s (at %d s)\n' "$*" "$SECONDS"; }
quiet() {
  "$@" >"$temporary/log" 2>&1 || { cat "$temporary/log" >&2; fail "$*"; }
}

# Why no root can be made; nothing if one was.
make_root() {
  ((EUID == 0)) || { echo "not root"; return; }
  unshare --mount --pid --fork --kill-child true 2>/dev/null || { echo "mount namespaces are not allowed here"; return; }
  if command -v mmdebstrap >/dev/null; then
    # Half of the time would go into syncing files that are thrown away.
    mmdebstrap --quiet --variant=apt --skip=cleanup/apt/lists --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
      bookworm "$root" >"$temporary/root.log" 2>&1 && return
  elif command -v debootstrap >/dev/null; then
    debootstrap --variant=minbase bookworm "$root" >"$temporary/root.log" 2>&1 &&
      chroot "$root" apt-get -q update >"$temporary/root.log" 2>&1 && return
  else
    echo "neither mmdebstrap nor debootstrap is here"
    return
  fi
  echo "no root could be made: $(tail -n 3 "$temporary/root.log" | paste -sd' ')"
}

# It waits for Debian and the disk, what follows for the processor.
make_root >"$temporary/reason" &
root_maker=$!

step "make"
quiet cpack --config "$build_dir/CPackConfig.cmake" -G DEB -B "$temporary/out"
rm -rf "$temporary/out/_CPack_Packages"
debs=("$temporary"/out/*.deb)
version=$("$build_dir/bin/mserve-broker" --version | cut -d' ' -f2)
for deb in "${debs[@]}"; do
  dpkg-deb -f "$deb" Package Version | paste -sd' '
  [[ $(dpkg-deb -f "$deb" Version) == "$version"-* ]] || fail "${deb##*/} has another version than mserve-broker --version: $version"
done
[[ ${#debs[@]} == 4 ]] || fail "expected four packages"

step "lintian"
# The one is about a bug in Debian's tracker; libraries lie in /usr/lib, since the build's prefix is not Debian's.
lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs,pkg-config-unavailable-for-cross-compilation \
  "${debs[@]}" || fail "lintian"

step "tarballs"
quiet cpack --config "$build_dir/CPackConfig.cmake" -G TGZ -B "$temporary/tar"
mkdir "$temporary/unpacked"
tar -xf "$temporary"/tar/mserve-*.tar.gz -C "$temporary/unpacked" --strip-components=1
[[ $("$temporary/unpacked/bin/mserve-stat" --version) == "mserve-stat $version" ]] || fail "the tarball's mserve-stat"
quiet cpack --config "$build_dir/CPackSourceConfig.cmake" -G TGZ -B "$temporary/tar"
tar -tf "$temporary/tar/mserve-$version.tar.gz" | sed -n "s|^mserve-$version/||; /[^/]\$/p" | sort >"$temporary/packed"
if git -C "$source_dir" ls-files >"$temporary/tracked" 2>/dev/null; then
  # A work tree may have more; it may not have less.
  sort "$temporary/tracked" | while read -r file; do [[ ! -e $source_dir/$file ]] || echo "$file"; done >"$temporary/present"
  comm -13 "$temporary/packed" "$temporary/present" | grep . && fail "the source tarball lacks these files"
fi
! grep -E '^(build|\.git)/' "$temporary/packed" || fail "the source tarball has what a clone does not have"

step "programs built against libmserve-dev"
mkdir "$temporary/dev"
for deb in "$temporary"/out/libmserve-dev_*.deb "$temporary"/out/libmserve1_*.deb; do dpkg-deb -x "$deb" "$temporary/dev"; done
quiet cmake -S "$consumer_dir" -B "$temporary/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$temporary/dev/usr"
quiet cmake --build "$temporary/consumer" --target use-client
quiet "$temporary/consumer/use-client"
export PKG_CONFIG_PATH=$temporary/dev/usr/lib/pkgconfig
read -ra flags < <(pkg-config --cflags --libs mserve-shm)
quiet c++ -std=c++20 "$consumer_dir/use_shm.cpp" "${flags[@]}" -o "$temporary/use-shm"
quiet "$temporary/use-shm"

# What is tried with the programs of the package, in the root or from where they were unpacked: $1 is where bin/ is.
cat >"$temporary/use.sh" <<'SCRIPT'
set -euo pipefail
export PATH=$1/bin:$PATH MSERVE_DIR=$2
mkfifo "$MSERVE_DIR/ready"
mserve-broker --ready-fd 3 2 mserve-servant --servant-args '--rows 1000' 3>"$MSERVE_DIR/ready" 2>"$MSERVE_DIR/log" &
broker=$!
read -r -t 60 ready <"$MSERVE_DIR/ready" && [[ $ready == ready ]] || { cat "$MSERVE_DIR/log" >&2; exit 1; }
mserve-client --quiet 'proc1 `IBM' | grep 'IBM' >/dev/null
mserve-stat --json servants | grep mserve-servant-2 >/dev/null
kill -TERM "$broker"
wait "$broker"
echo "  a broker, two servants and a client: as $(id -un)"
SCRIPT

# Runs a command in the root, with mounts and processes of its own, which end with it.
in_root() {
  # shellcheck disable=SC2016  # expanded in there
  unshare --mount --pid --fork --kill-child bash -c 'set -e; root=$1; shift
    mount --make-rprivate /
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    # A child: systemd-analyze as the first process of a namespace would talk to the console.
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    exit' \
    bash "$root" "$@"
}

step "a bare Debian 12"
wait "$root_maker" || fail "mmdebstrap or debootstrap"
root_maker=
reason=$(<"$temporary/reason")
if [[ -n $reason ]]; then
  echo "  no installation in a root of its own: $reason"
  echo "  instead: what the packages hold, unpacked"
  mkdir "$temporary/root-less"
  mkdir -m 700 "$temporary/run"
  for deb in "${debs[@]}"; do dpkg-deb -x "$deb" "$temporary/root-less"; done
  quiet bash "$temporary/use.sh" "$temporary/root-less/usr" "$temporary/run"
  cat "$temporary/log"
  for file in lib/systemd/system/mserve-broker.service usr/lib/sysusers.d/mserve.conf etc/mserve/broker.env usr/share/man/man1/mserve-broker.1.gz; do
    [[ -e $temporary/root-less/$file ]] || fail "no $file in the packages"
  done
  echo "Done, without an installation."
  exit 0
fi
find "$root" -name '*mserve*' | grep . && fail "the bare root knows mserve already"

step "install"
cp "${debs[@]}" "$temporary/use.sh" "$root/tmp/"
apt=(apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io --no-install-recommends)
quiet in_root bash -c "${apt[*]} install /tmp/mserve_*.deb /tmp/mserve-bench_*.deb"
# Its dependencies are large: that they exist is enough here, as a program was built against it above.
quiet in_root bash -c "${apt[*]} --simulate install /tmp/libmserve1_*.deb /tmp/libmserve-dev_*.deb"
grep -q '^mserve:' "$root/etc/passwd" || fail "no user mserve"
[[ ! -e $root/etc/systemd/system/multi-user.target.wants/mserve-broker.service ]] || fail "the installation enabled the broker"

step "use"
quiet in_root bash -c 'install -d -m 0700 -o mserve -g mserve /run/mserve
  exec setpriv --reuid=mserve --regid=mserve --clear-groups bash /tmp/use.sh /usr /run/mserve'
cat "$temporary/log"
# Every unit that the package brings, of a template one instance.
units=()
for unit in "$root"/lib/systemd/system/mserve*; do
  unit=${unit##*/}
  units+=("${unit/@./@1.}")
done
((${#units[@]} > 0)) || fail "the package installed no unit"
quiet in_root systemd-analyze verify --man=no "${units[@]}"
! grep mserve "$temporary/log" || fail "systemd-analyze verify"
# shellcheck disable=SC2016  # expanded in there
quiet in_root bash -c 'for tool in /usr/bin/mserve-*; do
    [[ -s /usr/share/man/man1/${tool##*/}.1.gz ]] || { echo "no man page of $tool"; exit 1; }
    [[ $tool == */mserve-bench-parts ]] && continue
    "$tool" --help >/dev/null
    . "/usr/share/bash-completion/completions/${tool##*/}"
    complete -p "${tool##*/}"
  done'
echo "  units, man pages, completions"

step "install again, remove, purge"
quiet in_root bash -c 'dpkg --force-unsafe-io -i /tmp/mserve_*.deb'
echo 'MSERVE_ARGS=-p 5001' >>"$root/etc/mserve/broker.env"
quiet in_root bash -c 'ln -s /lib/systemd/system/mserve-broker.service /etc/systemd/system/multi-user.target.wants/ &&
  dpkg --remove mserve-bench mserve'
grep -q 5001 "$root/etc/mserve/broker.env" || fail "a removal took the operator's configuration"
quiet in_root dpkg --purge mserve mserve-bench
rm "$root"/tmp/*.deb "$root/tmp/use.sh"
! find "$root" -mindepth 1 -name '*mserve*' | grep . ||
  fail "these are left behind"
echo "Nothing left behind."
