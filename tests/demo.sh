#!/usr/bin/env bash
# A demonstration in the lab: creates a balancer, cuts the power of its active node, destroys the balancer, and shows with
# the AWS CLI that nothing is left. `make demo` builds what this needs.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/target/release:$PATH
export ELBOW_LAB_DIR=${ELBOW_LAB_DIR:-$PWD/target/lab}

if [[ $EUID -ne 0 ]]; then
    echo "demo: the lab needs root for containers and network namespaces; run make demo, which uses sudo" >&2
    exit 1
fi

bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 ]] || bold='' plain=''
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }
since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", to - from }'; }

folder=$(mktemp -d)
probing=
finish() {
    code=$?
    [[ -z $probing ]] || kill "$probing" 2>/dev/null || true
    rm -rf "$folder"
    lab down >"$ELBOW_LAB_DIR/down.log" 2>&1 || { cat "$ELBOW_LAB_DIR/down.log" >&2; code=1; }
    [[ $code -eq 0 ]] || echo "demo: failed; the lab's log is $ELBOW_LAB_DIR/run/lab.log" >&2
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM
start=$EPOCHREALTIME

say "A VPC in a box: private subnets in two zones, a client in a third zone, and AWS's API"
run lab up
eval "$(lab env)"

say "The balancer's file"
lab example | tee "$folder/balancer.toml"
vip=$(sed -n 's/^virtual_ips *= *\["\(.*\)"\]/\1/p' "$folder/balancer.toml")

say "launcher create: role, security group, launch template, two instances, which configure themselves"
from=$EPOCHREALTIME
run launcher create "$folder/balancer.toml"
echo "created and serving after $(since "$from")"

say "The client in the third zone sends requests to the virtual IP"
for _ in 1 2 3 4; do run lab client curl --silent --show-error --max-time 2 "http://$vip/"; done
run lab status

say "A new request every 10 ms, while the active node loses power (100 ms API latency)"
run lab latency 100
lab probe "$vip:80" --every 10 &
probing=$!
sleep 1
run lab kill active
wait "$probing"
probing=
run lab client curl --silent --show-error --max-time 2 "http://$vip/"
run lab latency 0
run lab status

say "launcher destroy: removes everything"
run launcher destroy web --yes

say "The AWS CLI finds no live resource with the tag, none named elbow-, and no route to the virtual IP"
none() {
    printf '%s$ %s%s\n' "$bold" "$*" "$plain"
    found=$("$@" --output json)
    echo "$found"
    [[ $found == "[]" ]] || { echo "demo: these resources are left" >&2; return 1; }
}
none aws ec2 describe-instances --query 'Reservations[].Instances[].InstanceId' --filters \
    Name=tag-key,Values=elbow:balancer Name=instance-state-name,Values=pending,running,stopping,stopped,shutting-down
none aws ec2 describe-network-interfaces --filters Name=tag-key,Values=elbow:balancer --query 'NetworkInterfaces[].NetworkInterfaceId'
none aws ec2 describe-security-groups --query "SecurityGroups[?starts_with(GroupName, 'elbow-')].GroupName"
none aws ec2 describe-launch-templates --query "LaunchTemplates[?starts_with(LaunchTemplateName, 'elbow-')].LaunchTemplateName"
none aws ec2 describe-route-tables --filters "Name=route.destination-cidr-block,Values=$vip/32" --query 'RouteTables[].RouteTableId'
none aws iam list-roles --query "Roles[?starts_with(RoleName, 'elbow-')].RoleName"
none aws iam list-instance-profiles --query "InstanceProfiles[?starts_with(InstanceProfileName, 'elbow-')].InstanceProfileName"

say "The lab stops"
run lab down
echo
echo "total time: $(since "$start")"
