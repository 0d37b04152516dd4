#!/usr/bin/env bash
# Every test, quickest first. The lab's need root (containers, network namespaces): as another user they run by sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null || ! sudo -v; then
        echo "make test: the lab's tests start containers and network namespaces: run as root, or let this user use sudo" >&2
        exit 1
    fi
    # Cargo stays this user's; only the test programs run as root.
    runner="CARGO_TARGET_$(uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER"
    export "$runner=sudo --preserve-env"
fi

# A failed test says what it saw; the stack below each error would bury that.
export RUST_LIB_BACKTRACE=0

target/lab/venv/bin/python -m pytest -q -p no:cacheprovider tests/moto
cargo test --release --workspace --locked --no-fail-fast "$@"
