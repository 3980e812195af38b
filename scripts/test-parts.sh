# The parts of scripts/test (bash; source it). Each prints `ok NAME`, `FAILED NAME`, `skipped NAME: WHY`, or Swift
# Testing's lines.

check() { # NAME COMMAND...: shows the output of a command that fails
    local output
    if output=$("${@:2}" 2>&1); then echo "ok $1"; else
        echo "FAILED $1"
        tail -n 40 <<<"$output" | sed 's/^/    /'
    fi
}

build_all() {
    check "swift build, with tests" swift build --build-tests --disable-xctest --package-path "$root" \
        --scratch-path "$scratch" --explicit-target-dependency-import-check error
    ! wants agent || check "scripts/build-agent --debug" "$root/scripts/build-agent" --debug
    ! wants agent && ! wants e2e && ! wants faults && ! wants fuzz && ! wants runtimes && ! wants vm || check "scripts/build --tuned" "$root/scripts/build" --tuned
}

# without FOLDERS MODULES: no file there imports one of the modules
without() {
    local access='(public|package|internal|fileprivate|private)' kind='(struct|class|enum|protocol|typealias|func|let|var)'
    # shellcheck disable=SC2086
    ! (cd "$root/Sources" && grep -rnE --include='*.swift' \
        "^[[:space:]]*(@[A-Za-z_]+(\([^)]*\))?[[:space:]]+)*($access[[:space:]]+)?import[[:space:]]+($kind[[:space:]]+)?($2)([.;[:space:]]|\$)" $1)
}

lint() {
    local others
    others=$(cd "$root/Sources" && echo *)
    check "no Foundation, no Dispatch" without . "Foundation|FoundationEssentials|Dispatch"
    others=${others/ plexus-agent/}
    check "ArgumentParser in commands only" without "${others/Commands/}" ArgumentParser
    check "packages of servers in the agent only" without "${others/Agent/}" \
        "NIO[A-Za-z0-9]*|AsyncHTTPClient|Logging|ServiceLifecycle|UnixSignals"
    check "Kubernetes makes no system calls" without Kubernetes "Linux|Glibc"
    check "Modules and IPAM know no netlink and no engine" without "Modules IPAM" "Netlink|Engine|CMnl|CLinux"
    check "Modules make no system calls" without "Modules Plans" "Linux|Glibc"
    check "definitions and records need no engine and no netlink" without "Definitions Records" \
        "Engine|Netlink|Modules|IPAM|Meta|CMnl"
    check "the engine knows no module" without Engine "Modules|IPAM|Meta|Definitions|Records"
    check "swift format" swift format lint --strict -r "$root/Sources" "$root/Tests"
}

swift_tests() { # OPTION...: of the built test bundle; a filter that matches nothing fails
    "$scratch/debug/plexusPackageTests.xctest" --testing-library swift-testing "$@"
}

unit() {
    set -- "$scratch/debug/plexusPackageTests.xctest" --testing-library swift-testing \
        --skip '^(NamespaceTests|EndToEndTests|FuzzTests)\.'
    local user=()
    [ "$(id -u)" != 0 ] || user=(setpriv "--reuid=${SUDO_UID:-65534}" "--regid=${SUDO_GID:-65534}" --clear-groups
        env HOME=/tmp)
    "${user[@]}" test -x "$1" || { echo "the tests run as root: others cannot read $1" && user=(); }
    "${user[@]}" "$@"
}

# private COMMAND...: in a network of its own, with /run and CNI's folder empty
private() {
    export -f swift_tests check
    export scratch root
    unshare --net --mount --propagation private -- bash -euc '
        mkdir -p /var/lib/cni
        for folder in /run /var/lib/cni; do mount -t tmpfs tmpfs "$folder"; done
        ip link set lo up
        "$@"' bash "$@"
}

# The tests of one suite or name, against the debug build; those of a network need root.
only() { # REGEX
    export PLEXUS=$scratch/debug/plexus
    if [ "$(id -u)" = 0 ]; then
        private swift_tests --filter "$1"
    else
        swift_tests --filter "$1" --skip '^(NamespaceTests|EndToEndTests)\.'
    fi
}

# What a machine without a libmnl.a gets.
shared_build() {
    export PLEXUS_SCRATCH=$root/.build-shared
    "$root/scripts/build" --shared
    local libraries
    libraries=$(ldd "$PLEXUS_SCRATCH/release/plexus" | grep -oE '^[[:space:]]*lib[a-z]+' | sort | xargs)
    [ "$libraries" = "libc libm libmnl" ] || { echo "needs $libraries" && return 1; }
    CNI_COMMAND=VERSION "$PLEXUS_SCRATCH/release/plexus" | grep supportedVersions
    # Nobody may get it unawares.
    [ -e "$(pkg-config --variable=libdir libmnl)/libmnl.a" ] || unshare --mount --propagation private -- \
        bash -euc 'mkdir -p "$1/.build-libmnl" && mount -t tmpfs tmpfs "$1/.build-libmnl"
            LIBMNL_ARCHIVE= "$1/scripts/build" 2>&1 | grep "NEEDS libmnl.so.0"' bash "$root"
}

e2e() {
    local status=0
    export PLEXUS=$scratch/release/plexus
    private swift_tests --filter '^EndToEndTests\.' --skip 'EndToEndTests.Agent' || status=$?
    private check "quickstart" "$root/scripts/quickstart"
    check "with shared libraries" shared_build
    return "$status"
}

agent() {
    local status=0
    export PLEXUS=$scratch/release/plexus PLEXUS_AGENT=$root/.build-agent/debug/plexus-agent
    private swift_tests --filter '^EndToEndTests\.Agent' || status=$?
    if command -v kubectl >/dev/null; then
        check "cluster-demo" "$root/scripts/cluster-demo"
    else
        echo "skipped cluster-demo: there is no kubectl"
    fi
    return "$status"
}

cluster() { private "$root/Tests/Cluster/check"; }

fuzz() {
    local seed output
    seed=$(date +%Y%m%d)
    if output=$("$root/scripts/fuzz" --seconds 60 --seed "$seed" 2>&1); then
        echo "ok fuzz, seed $seed: $(tail -n 1 <<<"$output")"
    else
        echo "FAILED fuzz, seed $seed: $(tail -n 1 <<<"$output")"
        sed 's/^/    /' <<<"$output"
    fi
}

# The executable under its names; containerd calls loopback in any case.
runtimes() {
    local bin status=0
    bin=$(mktemp -d)
    for name in plexus loopback; do ln -s "$scratch/release/plexus" "$bin/$name"; done
    "$root/Tests/Runtimes/podman" "$bin" || status=1
    "$root/Tests/Runtimes/containerd" "$bin" || status=1
    "$root/Tests/Runtimes/containerd-existing" "$bin" || status=1
    rm -rf "$bin"
    return "$status"
}

# What no kernel decides stays on the host's: emulated, the fault sweep and the hostile suites take minutes.
vm() {
    local machine=$root/Tests/VM/run-in-vm
    [ "$(uname -m)" = x86_64 ] || { echo "skipped VM: needs an x86-64 host" && return; }
    "$machine" --prepare || { echo "skipped VM: no kernel to start" && return; }
    export PLEXUS=$scratch/release/plexus
    export -f swift_tests
    export scratch
    "$machine" --memory 4096 --timeout 2400 --nic -- bash -euc 'echo "kernel $(uname -r)"
        modprobe virtio_net
        swift_tests --filter "^(NamespaceTests|EndToEndTests)\\." --skip "anyRefusedCall|HostileInput|PowerAndDisk|MisbehavingPrograms|ErrorTable|AddressRows|DHCPTests|Bounds/|Explaining|ExplainedPlans/(?!ofVLANs|ofAFileThat)|SaidOnce|ReasonTests|FromTheReadme|NamesAndHelp|ListsOfVersions|BlameTests/(?!whatAnIpvlan)|Asked/(?!aBridgeThat)|SysctlTests/stuck|IdentityTests/(?!device\\(|renamed\\(|reusedPath)|NeighbourRows|MultusSwitchOver/(?!what)|SwitchOverRows/hyphens|StatusRows|DropInRows|InstallRows|CacheRows|ValidateRows|GoingBackRows|OptionalRows|RunningPodRows|DevicePluginRows|EndToEndTests\\.DHCP(?!Rows/life|NodeRows/vlan)|Multus(Annotation|Chain|Life|Node|Protocol|Status)Rows|RequestRows|TakeoverRows|RepairRows/(?!vlans|ipvlan)|RowTable|LinkFirstRows|SharedRows|ChainEndToEnd|RouteMetricRows|SwitchOverRows|EndToEndTests.Agent"'
}
