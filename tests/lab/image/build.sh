#!/bin/sh
# Builds the lab's machine images from Debian packages, into the empty folder OUT:
#   OUT/plain       what a bare Debian AMI has: systemd, cloud-init, and little else
#   OUT/image       the same with what a node runs, as an operator's own AMI would have it
#   OUT/dnf         plain with dnf; rpms.sh completes it
#   OUT/repository  a package repository with what `plain` lacks, for the lab's VPC (no instance reaches the world)
# SOURCES is a sources.list naming where packages come from; FILES is a tree put over all images.
set -eu
sources=$1 files=$2 out=$3
node_packages="haproxy keepalived rsyslog logrotate nftables"

say() { echo "image: $*" >&2; }

# add_packages ROOT DEBS: installs the packages of the folder DEBS into an image, and starts no service.
add_packages() {
	printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
	chmod +x "$1/usr/sbin/policy-rc.d"
	mkdir "$1/debs"
	cp "$2/"*.deb "$1/debs/"
	mount -t proc proc "$1/proc"
	chroot "$1" env DEBIAN_FRONTEND=noninteractive sh -c 'dpkg --install --force-unsafe-io /debs/*.deb' >"$out/install.log" 2>&1 || {
		umount "$1/proc"
		cat "$out/install.log" >&2
		exit 1
	}
	umount "$1/proc"
	rm -r "$1/debs" "$1/usr/sbin/policy-rc.d"
}

say "a plain Debian from its packages"
# The node's packages and dnf are fetched here too, while apt still knows where from: what is fetched is what plain lacks.
# shellcheck disable=SC2016 # $1 is the hook's own
mmdebstrap --quiet --mode=root --variant=minbase \
	--include=systemd,systemd-sysv,dbus,cloud-init,curl,iproute2,ca-certificates,iputils-ping,procps \
	--customize-hook='mkdir -p "$1/var/debs"' \
	--customize-hook='chroot "$1" apt-get --quiet=2 --yes --no-install-recommends --download-only \
		-o Dir::Cache::archives=/var/debs install '"$node_packages" \
	--customize-hook='mkdir -p "$1/var/dnf-debs"' \
	--customize-hook='chroot "$1" apt-get --quiet=2 --yes --no-install-recommends --download-only \
		-o Dir::Cache::archives=/var/dnf-debs install dnf' \
	bookworm "$out/plain" - <"$sources" >&2

say "the package repository"
pool=pool/main
mkdir -p "$out/repository/debian/$pool" "$out/repository/debian/dists/bookworm/main/binary-amd64"
# Named by package alone: a version's epoch, plus signs and tildes would have to be escaped in an address.
for deb in "$out"/plain/var/debs/*.deb; do
	package=${deb##*/}
	mv "$deb" "$out/repository/debian/$pool/${package%%_*}.deb"
done
mv "$out/plain/var/dnf-debs" "$out/dnf-debs"
rm -r "$out/plain/var/debs"
(
	cd "$out/repository/debian"
	apt-ftparchive packages $pool >dists/bookworm/main/binary-amd64/Packages
	gzip --keep --no-name dists/bookworm/main/binary-amd64/Packages
	apt-ftparchive -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=bookworm \
		-o APT::FTPArchive::Release::Architectures=amd64 -o APT::FTPArchive::Release::Components=main \
		release dists/bookworm >Release.new
	mv Release.new dists/bookworm/Release
)

say "settings for the lab"
root=$out/plain
cp -R "$files/." "$root/"
# Without a DHCP server dhclient would hold up the boot for a minute; the lab sets addresses before it.
for program in sbin/dhclient usr/sbin/dhclient; do
	if [ -e "$root/$program" ]; then mv "$root/$program" "$root/$program.away"; fi
done
: >"$root/etc/resolv.conf"
: >"$root/etc/machine-id"
rm -rf "$root/etc/hostname" "$root/etc/apt/sources.list.d" "$root"/var/lib/apt/lists/*
mkdir -p "$root/etc/apt/sources.list.d" "$root/var/lib/apt/lists/partial"
# A container has no devices to settle and no disks to tend, and in the VPC there is nothing to upgrade from.
for unit in systemd-udevd.service systemd-udev-trigger.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

say "the node's image, with $node_packages"
cp -a "$out/plain" "$out/image"
add_packages "$out/image" "$out/repository/debian/$pool"
# The agent starts these two, in order, at every boot.
chroot "$out/image" systemctl disable --quiet haproxy.service keepalived.service 2>/dev/null || true
# A container has no kernel log to read: rsyslog spins on it.
sed -i '/imklog/s/^/#/' "$out/image/etc/rsyslog.conf"

say "the image with dnf"
cp -a "$out/plain" "$out/dnf"
add_packages "$out/dnf" "$out/dnf-debs"
