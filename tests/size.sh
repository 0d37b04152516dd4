#!/usr/bin/env bash
# Prints the size of the released agent, and its memory on nodes of the lab that run the same file.
set -euo pipefail
cd "$(dirname "$0")/.."
export ELBOW_LAB_DIR=${ELBOW_LAB_DIR:-$PWD/target/lab}

if [[ $EUID -ne 0 ]]; then
    echo "size: the lab needs root for containers and network namespaces; run make size, which uses sudo" >&2
    exit 1
fi

# The lab serves the agent in its own folder.
folder=$(mktemp -d -p target)
PATH=$PWD/$folder:$PWD/target/release:$PATH
agent=$(echo target/dist/elbow-*-"$(uname -m)/agent-$(uname -m)")
cp target/release/lab "$folder/"
cp "$agent" "$folder/agent"
finish() {
    code=$?
    lab down >/dev/null || code=1
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

lab up
eval "$(lab env)"
lab example --by-url >"$folder/balancer.toml"
launcher create "$folder/balancer.toml"

printf '\nreleased agent: %s bytes\n' "$(stat -c %s "$agent")"
for node in active standby; do
    printf 'agent, %s: ' "$node"
    # shellcheck disable=SC2016 # expanded by the node's shell
    lab exec "$node" sh -c 'grep -E "^(VmRSS|RssAnon|VmHWM):" /proc/$(systemctl show -P MainPID elbow-agent)/status' |
        awk '{ printf "%s %.1f MB  ", $1, $2 / 1024 } END { print "" }'
done
launcher destroy web --yes >/dev/null
