# Checks of the runtimes' tests (bash; source it inside the private namespaces).
set +e
failed=0

check() { # NAME COMMAND...
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        printf '%s\n' "$output" | sed 's/^/    /'
    fi
}

has() { # TEXT PATTERN...: each matches a line
    local text=$1
    shift
    for pattern in "$@"; do
        grep -qE -e "$pattern" <<<"$text" || { echo "no line matches $pattern in:"; echo "$text"; return 1; }
    done
}

# No veth on this host, no lease, no record. Bridges are shared and stay.
nothing_left() {
    local left
    left=$(
        ip -o link show type veth
        find /var/lib/cni/networks -type f -name '[0-9a-f]*[.:]*' 2>/dev/null
        find /var/lib/cni/plexus/attachments /var/lib/cni/results -type f ! -name '*.lock' 2>/dev/null
        nft list ruleset 2>/dev/null | grep saddr
    )
    [ -z "$left" ] || { echo "$left"; return 1; }
}

finish_checks() { [ $failed = 0 ]; }
