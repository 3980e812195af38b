# Shared by the scripts here (sh; source it). Every one of them answers --help with its head.

case " $* " in *" --help "* | *" -h "*)
    sed -n '2,/^[^#]/ { /^#/!q; s/^# \{0,1\}//p; }' "$0"
    exit
    ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=${PLEXUS_SCRATCH:-$root/.build}
export PATH="$PATH:/usr/sbin:/sbin"
# The packages of the agent are for those who build that: see Package.swift.
export PLEXUS_PARTS=${PLEXUS_PARTS:-cni}

# One bold line for each argument.
say() { if [ -t 1 ]; then printf "\033[1m%s\033[0m\n" "$@"; else printf "%s\n" "$@"; fi; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# sudo drops Swift's folder from PATH: look where it usually is.
find_swift() {
    command -v swift >/dev/null && return
    home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    for folder in /opt/swift/usr/bin /opt/swift*/usr/bin /usr/share/swift/usr/bin /usr/local/swift/usr/bin \
        /usr/libexec/swift/bin "$home/.local/share/swiftly/bin" "$home"/swift*/usr/bin; do
        if [ -x "$folder/swift" ]; then
            export PATH="$folder:$PATH"
            return
        fi
    done
    die "Swift 6.2 or later was not found: install it (https://swift.org/install), or put it on PATH"
}

# What root built below sudo belongs to the user who called it.
give_back() {
    [ -z "${SUDO_UID:-}" ] || [ ! -e "$scratch" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$scratch"
}

build_packages="gcc g++ lld pkg-config git ca-certificates libmnl-dev libjson-c-dev libyaml-dev libmd-dev"
demo_packages="iproute2 iputils-ping nftables jq"
test_packages="iptables strace valgrind hyperfine containernetworking-plugins containerd runc podman conmon crun \
    busybox-static python3 python3-grpcio util-linux procps qemu-system-x86 kmod xz-utils dnsmasq-base \
    etcd-server openssl curl \
    kea-dhcp4-server kea-dhcp6-server isc-dhcp-server isc-dhcp-relay tcpdump systemd"

# install_packages PACKAGE...: those that are missing. Services that they bring are not started, and podman's
# default network stays out of /etc/cni, where other runtimes would take it for theirs.
install_packages() (
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || exit 0
    [ "$(id -u)" = 0 ] || die "missing Debian packages:$missing (run this with sudo to install them)"
    say "installing:$missing"
    undo=
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        undo="rm -f $policy"
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    networks=/etc/cni/net.d
    [ -e $networks/87-podman-bridge.conflist ] || undo="$undo; rm -f $networks/87-podman-bridge.conflist"
    [ -e $networks ] || undo="$undo; rmdir $networks 2>/dev/null"
    [ -e /etc/cni ] || undo="$undo; rmdir /etc/cni 2>/dev/null"
    # shellcheck disable=SC2064
    trap "set +e; ${undo#; }; true" EXIT
    trap 'exit 1' INT TERM HUP
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >/dev/null </dev/null
)

# Debian 12's libmnl-dev has no archive of libmnl, Debian 13's has: from there it is taken, unpacked beside the
# sources, checked by apt against Debian's keys. Whoever has none links libmnl shared.
fetched_libmnl=$root/.build-libmnl/libmnl.a
fetch_libmnl_archive() (
    [ ! -e "$fetched_libmnl" ] && [ ! -e "$(pkg-config --variable=libdir libmnl)/libmnl.a" ] || exit 0
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^bookworm //p' | head -n 1)
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/sources.list"
    set -- -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root
    cd "$folder"
    if [ -n "$mirror" ] && apt-get "$@" update && apt-get "$@" download libmnl-dev &&
        dpkg-deb -x libmnl-dev_*.deb . && mkdir -p "$(dirname "$fetched_libmnl")" &&
        cp usr/lib/*/libmnl.a "$fetched_libmnl"; then
        [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$(dirname "$fetched_libmnl")"
        say "taken from Debian 13: libmnl.a"
    else
        say "no libmnl.a to be had: the executable will need libmnl.so, libm.so and libc.so"
    fi
)
