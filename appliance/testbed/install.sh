#!/usr/bin/env bash
# Installs what the build, the tests and the demo need and this machine lacks:
# QEMU 10 or later, tshark, and the small tools around them. What is there is
# left alone, so that a second run asks nothing of the network.
#
# Debian 13 has QEMU 10; Debian 12 has it in bookworm-backports, which is added
# beside the mirror that the machine already uses.
set -euo pipefail

readonly QEMU_MAJOR=10
readonly BACKPORTS=/etc/apt/sources.list.d/bumpless-backports.sources

missing=()
need() { # command, package
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

qemu_major() {
  qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'
}

# The cloud kernel's package list is asked when the guest is built; it must be
# there once.
kernel_known() {
  compgen -G 'out/cache/kernel/*' >/dev/null || apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1
}

need ip iproute2
need tc iproute2
need tshark tshark
need xz xz-utils
need gcc gcc
[ -x /usr/sbin/mke2fs ] || missing+=(e2fsprogs) # not in everybody's PATH
old_qemu=no
[ "$(qemu_major || true)" -ge "$QEMU_MAJOR" ] 2>/dev/null || old_qemu=yes
# qemu-img makes and looks into disk images; it comes from where QEMU does.
command -v qemu-img >/dev/null 2>&1 || old_qemu=yes

if [ ${#missing[@]} -eq 0 ] && [ $old_qemu = no ] && kernel_known; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "install: missing: ${missing[*]:-} $([ $old_qemu = yes ] && echo "QEMU $QEMU_MAJOR with qemu-img")" >&2
  echo "install: run \`make deps\` once as root; the rest needs no root where the kernel allows user namespaces" >&2
  exit 1
fi

# mirror prints the URI of the first Debian archive that apt uses.
mirror() {
  apt-get indextargets --format '$(SITE) $(RELEASE) $(REPO_URI)' 2>/dev/null | awk '$1 !~ /security/ && $2 !~ /security/ {print $3; exit}'
}

add_backports() {
  local uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  uri=$(mirror)
  [ -n "$uri" ] || { echo 'install: apt knows no Debian mirror: set one up in /etc/apt/sources.list.d first' >&2; exit 1; }
  echo "install: add bookworm-backports from the machine's own mirror ($BACKPORTS)"
  printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' "$uri" "$keyring" >"$BACKPORTS"
}

export DEBIAN_FRONTEND=noninteractive
. /etc/os-release
qemu_from=()
if [ $old_qemu = yes ] && [ "${VERSION_CODENAME:-}" = bookworm ]; then
  [ -e "$BACKPORTS" ] || add_backports
  qemu_from=(-t bookworm-backports)
fi
echo 'install: read the package lists'
apt-get update -qq
if [ ${#missing[@]} -gt 0 ]; then
  echo "install: ${missing[*]}"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
if [ $old_qemu = yes ]; then
  echo "install: QEMU $QEMU_MAJOR"
  apt-get install -y -qq --no-install-recommends "${qemu_from[@]}" qemu-system-x86 qemu-utils >/dev/null
fi
major=$(qemu_major || true)
[ "${major:-0}" -ge "$QEMU_MAJOR" ] || { echo "install: QEMU ${major:-none} is here, $QEMU_MAJOR is needed and the mirror does not have it" >&2; exit 1; }
