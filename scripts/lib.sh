# Shared by the scripts here (sh; source it).

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=${PLEXUS_SCRATCH:-$root/.build}
export PATH="$PATH:/usr/sbin:/sbin"

say() { if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# sudo drops Swift's folder from PATH: look where it usually is.
find_swift() {
    command -v swift >/dev/null && return
    home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    for folder in /opt/swift/usr/bin /usr/local/swift/usr/bin /usr/share/swift/usr/bin /usr/libexec/swift/bin \
        "$home/.local/share/swiftly/bin" "$home"/swift*/usr/bin; do
        if [ -x "$folder/swift" ]; then
            export PATH="$folder:$PATH"
            return
        fi
    done
    die "Swift 6.2 or later was not found: install it (https://swift.org/install), or put it on PATH"
}

build_packages="gcc g++ lld pkg-config git ca-certificates libmnl-dev libjson-c-dev libyaml-dev libmd-dev"
demo_packages="iproute2 iputils-ping nftables jq"
test_packages="$demo_packages strace containernetworking-plugins containerd runc podman conmon crun \
    busybox-static python3-grpcio python3 iptables util-linux curl procps"

# install_packages PACKAGE...: those that are missing. Services that they bring are not started.
install_packages() {
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "missing Debian packages:$missing (run this with sudo to install them)"
    say "installing:$missing"
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
