#!/bin/sh
# Takes out of Debian's packages the programs that check our files and that no node runs, into the empty folder OUT:
#   OUT/tools/promtool   of Prometheus: rules, and what nodes show to it
# SOURCES is a sources.list naming where packages come from. Only the program: its package and what that needs would be
# a third of an image.
set -eu
sources=$1 out=$2

echo "image: promtool from its package" >&2
# shellcheck disable=SC2016 # $1 and apt's settings are the hook's own
mmdebstrap --quiet --mode=root --variant=custom \
	--customize-hook='mkdir "$1/debs" && cd "$1/debs" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" \
		apt-get --quiet=2 -o APT::Sandbox::User=root download prometheus' \
	bookworm "$out/packages" - <"$sources" >&2
mkdir "$out/tools"
dpkg-deb --fsys-tarfile "$out"/packages/debs/prometheus_*.deb | tar -x -C "$out/tools" --strip-components=3 ./usr/bin/promtool
rm -r "$out/packages"
