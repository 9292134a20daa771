# shellcheck shell=bash
# Sourced by ./test, .ci/run and tests/docker/run: runs one stage, bounded in time, and prints its
# seconds. What a stage started ends with it, also when the script is stopped.

stage_child=

# stage NAME SECONDS COMMAND...
stage() {
    local name=$1 limit=$2 begun=$SECONDS status=0
    shift 2
    printf '\n== %s\n' "$name"
    if [ "$(type -t "$1")" = function ]; then # timeout(1) starts programs only
        # shellcheck disable=SC2163 # the function of that name
        export -f "$1"
        set -- bash -euo pipefail -c '"$@"' bash "$@"
    fi
    timeout --kill-after=10 "$limit" "$@" </dev/null &
    stage_child=$!
    wait "$stage_child" || status=$?
    stage_child=
    case $status in
    0) printf '== %s: %d s\n' "$name" "$((SECONDS - begun))" ;;
    124 | 137) printf '== %s: stopped after %d s, its limit\n' "$name" "$limit" ;;
    *) printf '== %s: failed with %d after %d s\n' "$name" "$status" "$((SECONDS - begun))" ;;
    esac
    return "$status"
}

stop_stage() {
    if [ -n "$stage_child" ]; then
        kill "$stage_child" 2>/dev/null || true
        wait "$stage_child" 2>/dev/null || true
        stage_child=
    fi
}

trap stop_stage EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
