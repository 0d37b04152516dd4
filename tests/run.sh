#!/usr/bin/env bash
# Runs the tests in less than half an hour: those in the lab, and beside them most others. `tests/run.sh faults` runs all
# faults and the longest other tests; with names, it runs these faults only. `tests/run.sh documents` runs the tests of
# documents.
# Tests in the lab need root for containers and network namespaces: for another user they run by sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null || ! sudo -v; then
        echo "make test: tests in the lab need root for containers and network namespaces; run as root, or allow this user sudo" >&2
        exit 1
    fi
    # Cargo runs as this user, and only the test programs as root.
    runner="CARGO_TARGET_$(uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER"
    export "$runner=sudo --preserve-env"
fi

# A failed test prints what it saw; backtraces would hide that.
export RUST_BACKTRACE=0

run() { cargo test --release --workspace --locked --no-fail-fast "$@"; }

# Tests take turns on a shared lab, which stops when no test waits for it: so all of them start at once.
on_labs() { run --test "$1" -- --test-threads=64 "${@:2}"; }

# Slow end-to-end tests that are faults, too.
slow=(
    a_node_that_cannot_reach_the_api_is_less_preferred_and_never_in_fault
    two_hundred_throttled_tables_take_the_buckets_own_time
)
# Tests that run ten times, as they must never lose a request.
again=(a_power_cut_is_over handovers_lose_no_request notices_and_stops_lose_no_request)

if [[ ${1:-} == faults ]]; then
    on_labs faults "${@:2}"
    [[ $# -gt 1 ]] || ELBOW_ROUNDS=10 on_labs end_to_end "${slow[@]}" "${again[@]}"
    exit
fi

if [[ ${1:-} == documents ]]; then
    run --test documents
    # Beside the code are the tests of doctor's ids, metrics, events, permissions and questions to AWS.
    run --lib --bins --test operator_policy -- document has_its_section
    exit
fi

if [[ $# -gt 0 ]]; then
    run "$@"
    run --test real_programs "$@"
    exit
fi

run --no-run --lib --bins --test '*'

# All that the tests say, to name those that failed at the end.
said=$(mktemp -d)
groups=()
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    local group
    for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null || :; done
    rm -rf "$said"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# The machine has one lab, in which tests measure times and leave half of the CPU idle. The others take that half.
in_lab() {
    local code=0
    run --test machines || code=1
    run --test documents what_the_documents_show_works_in_the_lab || code=1
    on_labs end_to_end "${slow[@]/#/--skip=}" || code=1
    # Quick faults that are the likeliest to break.
    on_labs faults \
        a_node_without_power_is_replaced_by_the_other \
        a_standby_that_restarts_leaves_the_virtual_ip_where_it_is \
        haproxy_that_is_killed_costs_its_node_the_virtual_ip \
        an_agent_that_is_restarted_relearns_its_state_without_moving_anything \
        after_a_power_cut_status_is_correct_and_an_update_works_without_the_dead_node \
        a_target_that_is_down_is_named \
        a_virtual_ip_that_is_removed_from_lo_is_restored \
        rules_tunnels_and_settings_that_are_removed_are_restored \
        deleted_routes_are_noticed_by_the_standby_and_restored || code=1
    return "$code"
}
beside_lab() {
    local code=0
    run -- --skip what_the_documents_show_works_in_the_lab || code=1
    run --test launcher_api -- --test-threads=8 || code=1
    target/lab/venv/bin/python -m pytest -q -p no:cacheprovider tests/lab/moto || code=1
    return "$code"
}
# Each part is a job in a process group of its own: bash runs a trap while it waits for a job, but not while it runs a command.
code=0
set -m
{ run --test real_programs 2>&1 | tee -i "$said/programs"; } &
groups=($!)
wait "${groups[0]}" || code=1
{ renice -n 19 "$BASHPID" >/dev/null; beside_lab; } >"$said/beside" 2>&1 &
groups=($!)
{ in_lab 2>&1 | tee -i "$said/lab"; } &
groups+=($!)
set +m
for group in "${groups[@]}"; do wait "$group" || code=1; done
groups=()
echo "Beside the lab:"
cat "$said/beside"
if [[ $code -ne 0 ]]; then
    echo "These tests failed; what each saw is above:"
    grep -hE '^(test .* FAILED$|FAILED |ERROR |error(\[|:))' "$said"/* || echo "none by name: see above"
fi
exit "$code"
