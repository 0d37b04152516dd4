#!/bin/sh
# Builds the benchmark's image: the node's image with Debian packages for the other tools.
# BASE: the node's image, which stays unchanged. SOURCES: a sources.list for the packages. OUT: the new image.
set -eu
base=$1 sources=$2 out=$3

echo "bench: an image with the AWS CLI, Pacemaker's resource agents, nginx and wrk" >&2
cp -a "$base" "$out"
cp "$sources" "$out/etc/apt/sources.list"
cp /etc/resolv.conf "$out/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$out/usr/sbin/policy-rc.d"
chmod +x "$out/usr/sbin/policy-rc.d"
mount -t proc proc "$out/proc"
log=$out.log
{
	chroot "$out" apt-get --quiet=2 update &&
		chroot "$out" env DEBIAN_FRONTEND=noninteractive \
			apt-get --quiet=2 --yes --no-install-recommends install \
			awscli resource-agents nginx libnginx-mod-stream wrk
} >"$log" 2>&1 || {
	umount "$out/proc"
	cat "$log" >&2
	exit 1
}
umount "$out/proc"
# A service of a dependency of resource-agents, unused here.
chroot "$out" systemctl disable --quiet logd.service
# On a node, its port is HAProxy's.
chroot "$out" systemctl disable --quiet nginx.service
rm -r "$out/usr/sbin/policy-rc.d" "$out"/var/lib/apt/lists/* "$out"/var/cache/apt/archives/*.deb
cp "$base/etc/apt/sources.list" "$out/etc/apt/sources.list"
: >"$out/etc/resolv.conf"
# The resource agent needs the profile `default`.
mkdir -p "$out/root/.aws"
printf '[default]\nregion = eu-west-1\n' >"$out/root/.aws/config"
