#!/bin/sh
# Runs a process of wrk for each client address at the same time, and prints what all of them print.
# COUNT: the number of addresses. CONNECTIONS: of each. SECONDS: how long. The rest: wrk's URL and more options.
set -eu
count=$1 connections=$2 seconds=$3
shift 3
folder=$(mktemp -d)
for n in $(seq "$count"); do
	user=$((7000 + n))
	setpriv --reuid="$user" --regid="$user" --clear-groups \
		wrk --threads 1 --connections "$connections" --duration "${seconds}s" --script /opt/bench/figures.lua "$@" \
		>"$folder/$n" 2>&1 &
done
wait
cat "$folder"/*
rm -r "$folder"
