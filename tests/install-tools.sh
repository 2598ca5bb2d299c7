#!/usr/bin/env bash
# Installs the real programs that the tests use. Run it as often as you like: under a second when all is there.
#
# OPA comes from `go install` where Go is present, into a cache outside of the checkout; Debian's packages come from
# apt-get where we are root. Envoy is a Python package, in the extra `test`. What cannot be installed is said loudly,
# and fails this script only under POLICYD_REQUIRE_TOOLS=1.
set -uo pipefail

readonly OPA_VERSION=1.22.2
readonly ACTIONLINT_VERSION=1.7.12
readonly BIN="${XDG_CACHE_HOME:-$HOME/.cache}/policyd/bin"
missing=()

lacks() {
    printf 'MISSING: %s\n' "$*" >&2
    missing+=("$1")
}

opa_is_right() { # BINARY
    [[ -x $1 ]] || return 1
    # The stamp saves starting a large binary: it names version, size and time of what was checked.
    local stamp
    stamp="$OPA_VERSION $(stat -Lc '%s %Y' "$1")"
    [[ $1 == "$BIN/opa" && -f $BIN/opa.stamp && $(<"$BIN/opa.stamp") == "$stamp" ]] && return 0
    [[ $("$1" version 2>/dev/null) == "Version: $OPA_VERSION"$'\n'* ]] || return 1
    [[ $1 != "$BIN/opa" ]] || printf '%s\n' "$stamp" >"$BIN/opa.stamp"
}

install_opa() {
    opa_is_right "$BIN/opa" && return
    local found
    if found=$(command -v opa) && opa_is_right "$found"; then
        # An older one in the cache would be found first.
        mkdir -p "$BIN" && ln -sf "$found" "$BIN/opa"
        return
    fi
    if ! command -v go >/dev/null; then
        lacks opa "OPA $OPA_VERSION: no \`opa\` of that version on PATH, and no Go (1.26 or newer) to build it"
        return
    fi
    echo "building OPA $OPA_VERSION with Go (about two minutes, once)" >&2
    mkdir -p "$BIN"
    if ! GOBIN=$BIN CGO_ENABLED=0 go install "github.com/open-policy-agent/opa@v$OPA_VERSION"; then
        lacks opa "OPA $OPA_VERSION: \`go install\` failed, see above"
        return
    fi
    # Its own version is only stamped into release builds; what `go install` built is what we asked for.
    printf '%s %s\n' "$OPA_VERSION" "$(stat -Lc '%s %Y' "$BIN/opa")" >"$BIN/opa.stamp"
}

install_actionlint() { # judges the workflows; a few seconds to build
    [[ -x $BIN/actionlint ]] && return
    local found
    if found=$(command -v actionlint); then
        mkdir -p "$BIN" && ln -sf "$found" "$BIN/actionlint"
    elif ! command -v go >/dev/null; then
        lacks actionlint "actionlint: not on PATH, and no Go to build it"
    elif ! GOBIN=$BIN CGO_ENABLED=0 go install "github.com/rhysd/actionlint/cmd/actionlint@v$ACTIONLINT_VERSION"; then
        lacks actionlint "actionlint $ACTIONLINT_VERSION: \`go install\` failed, see above"
    fi
}

install_packages() { # PROGRAM... (each is in the Debian package of its name)
    local wanted=() program
    for program in "$@"; do
        command -v "$program" >/dev/null || wanted+=("$program")
    done
    ((${#wanted[@]})) || return 0
    if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
        echo "installing ${wanted[*]} with apt-get" >&2
        apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${wanted[@]}" >&2
    fi
    for program in "${wanted[@]}"; do
        command -v "$program" >/dev/null || lacks "$program" "install it by hand: we are not root, or apt-get failed"
    done
}

install_packages git openssl haproxy wrk prometheus redis-server
install_opa
install_actionlint

if ((${#missing[@]})); then
    printf 'tests that need %s will be skipped\n' "${missing[*]}" >&2
    [[ ${POLICYD_REQUIRE_TOOLS:-} != 1 ]] || exit 1
fi
exit 0
