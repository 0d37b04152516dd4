#!/usr/bin/env bash
# A newcomer: on a bare Debian with nothing but a release's folder and credentials, runs the commands of README's quick start
# on AWS, at most three, and gets a 200 through the virtual IP. The argument is the folder of an unpacked tarball; without it,
# the programs of `make build` are laid out as in a tarball.
set -euo pipefail
cd "$(dirname "$0")/.."
lab=$PWD/target/release/lab
export ELBOW_LAB_DIR=${ELBOW_LAB_DIR:-$PWD/target/lab}

if [[ $EUID -ne 0 ]]; then
    echo "newcomer: the lab needs root for containers and network namespaces" >&2
    exit 1
fi

machine=$(mktemp -d)
finish() {
    code=$?
    rm -rf "$machine"
    "$lab" down >/dev/null || code=1
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir "$machine/root" "$machine/home" "$machine/release"
if [[ $# -gt 0 ]]; then
    cp -r "$1"/. "$machine/release"
else
    cp target/release/launcher "$machine/release"
    cp target/release/agent "$machine/release/agent-$(uname -m)"
fi

"$lab" up
credentials=$("$lab" env | grep -E '^export (AWS_|NO_PROXY=)')

# Runs a command line on that machine: the lab's plain image, read-only, with the release in /opt and an own home.
# shellcheck disable=SC2016 # expanded by the shell that mounts
newcomer() {
    unshare --mount --propagation private bash -euo pipefail -c '
        mount --bind --options ro "$1/plain" "$2/root"
        mount --rbind /dev "$2/root/dev"
        mount --bind /proc "$2/root/proc"
        mount --bind --options ro "$2/release" "$2/root/opt"
        mount --bind "$2/home" "$2/root/root"
        exec chroot "$2/root" /usr/bin/env -i HOME=/root PATH=/opt:/usr/bin:/bin bash -euo pipefail -c "$3; cd; $4"
    ' - "$ELBOW_LAB_DIR" "$machine" "$credentials" "$1"
}

newcomer "for it in cargo rustc git make $PWD; do if command -v \$it || [[ -e \$it ]]; then exit 1; fi; done" ||
    { echo "newcomer: the machine has this program or folder" >&2; exit 1; }

mapfile -t commands < <(sed -n '/^## Quick start on AWS/,/^## /s/^ *\$ //p' README.md)
if [[ ${#commands[@]} -eq 0 || ${#commands[@]} -gt 3 ]]; then
    echo "newcomer: README.md's quick start has ${#commands[@]} commands instead of one to three" >&2
    exit 1
fi
status=
start=$EPOCHREALTIME
for command in "${commands[@]}"; do
    printf '$ %s\n' "$command"
    case $command in
        # A client in the VPC asks.
        curl\ *) status=$("$lab" client sh -c "$command --silent --show-error --max-time 5 --write-out '%{http_code}\n'") ;;
        *) newcomer "$command" 2>&1 ;;
    esac
done
printf '%s\n' "$status"
[[ ${status##*$'\n'} == 200 ]] || { echo "newcomer: the last command is no curl that got a 200" >&2; exit 1; }
awk -v from="$start" -v to="$EPOCHREALTIME" 'BEGIN { printf "newcomer: a 200 after %.1f s\n", to - from }'
