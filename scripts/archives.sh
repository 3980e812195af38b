# Which libraries are linked as archives (sh; source it behind lib.sh).

archive() { # NAME FILE
    [ -e "$2" ] || die "lib$1.a is missing; as root: scripts/install-packages build"
    ln -sf "$2" "$archives/lib$1.a"
}

package() { # NAME LIBRARY: SwiftPM's own reading of Debian's .pc files would put the shared ones first
    printf 'Name: %s\nDescription: %s\nVersion: 0\nLibs: -L%s -l%s\n' "$1" "$1" "$archives" "$2" >"$archives/$1.pc"
}

# A folder with archives only, $archives, searched first, so that the linker takes no shared library of these.
collect_archives() { # SCRATCH
    archives=$1/archives
    rm -rf "$archives"
    mkdir -p "$archives"
    for name in json-c yaml md stdc++ gcc gcc_eh; do archive $name "$(cc -print-file-name="lib$name.a")"; done
    package json-c json-c
    package yaml-0.1 yaml
    package libmd md
    package libmnl mnl
}

# $mnl: the libmnl.a; empty when there is none.
find_libmnl_archive() {
    mnl=
    for file in "${LIBMNL_ARCHIVE:-}" "$fetched_libmnl" "$(pkg-config --variable=libdir libmnl)/libmnl.a"; do
        [ -n "$mnl" ] || [ ! -e "$file" ] || mnl=$(readlink -f "$file")
    done
    [ -z "${LIBMNL_ARCHIVE:-}" ] || [ -e "$LIBMNL_ARCHIVE" ] || die "$LIBMNL_ARCHIVE is missing (LIBMNL_ARCHIVE)"
}
