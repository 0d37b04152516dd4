#!/bin/sh
# Stands in for Amazon Linux, where the install step runs dnf. Works on what build.sh left in the folder OUT:
#   OUT/repository/rpm  the packages of OUT/repository/debian as RPMs, for the lab's VPC
#   OUT/dnf             loses apt-get, and gets an RPM database that knows what the image has
set -eu
out=$1
debian=$out/repository/debian/pool/main
rpms=$out/repository/rpm
work=$out/rpms
root=$out/dnf
export SOURCE_DATE_EPOCH=1700000000

say() { echo "image: $*" >&2; }

# Files stay as Debian built them: rpmbuild strips and compresses none. The same packages give the same RPMs.
mkdir -p "$work" "$rpms"
cat >"$work/macros" <<MACROS
%_topdir $work
%_tmppath $work/tmp
%_dbpath $work/db
%_rpmdir $rpms
%_build_name_fmt %%{NAME}.rpm
%_buildhost lab
%_binary_payload w1.gzdio
%use_source_date_epoch_as_buildtime 1
%clamp_mtime_to_source_date_epoch 1
%__os_install_post %{nil}
%debug_package %{nil}
%_build_id_links none
MACROS

# rpm_of SPEC OPTION…
rpm_of() {
	spec=$1
	shift
	rpmbuild --quiet -bb --load "$work/macros" "$@" "$spec" >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
}

# unpack DEB TREE: a package's files as an RPM has them: all below /usr, and without what only Debian's packages have.
unpack() {
	mkdir -p "$2/usr"
	dpkg-deb --extract "$1" "$2"
	for folder in bin sbin lib; do
		[ ! -d "$2/$folder" ] || cp -a "$2/$folder" "$2/usr/"
		rm -rf "${2:?}/$folder"
	done
	(
		cd "$2"
		rm -rf etc/default etc/init.d usr/lib/tmpfiles.d usr/share/bug usr/share/doc usr/share/lintian usr/share/locale usr/share/man
		# Debian's HAProxy logs by a socket in its chroot.
		rm -f etc/rsyslog.d/49-haproxy.conf
		[ ! -e usr/lib/systemd/system/haproxy.service ] ||
			sed -i '/^BindReadOnlyPaths=/d' usr/lib/systemd/system/haproxy.service
		# A container has no kernel log to read: rsyslog spins on it.
		[ ! -e etc/rsyslog.conf ] || sed -i '/imklog/s/^/#/' etc/rsyslog.conf
	)
}

# The lines of %files. A node's files are written before dnf runs: an RPM's own goes beside it.
files() {
	find . -path './etc/*' ! -type d -printf '%%config(noreplace) "/%P"\n'
	find . -path ./etc -prune -o ! -type d -printf '"/%P"\n'
	find . -type d -empty '(' -path './etc/*' -o -path './var/*' ')' -printf '%%dir "/%P"\n'
}

say "RPMs of the node's packages"
for deb in "$debian"/*.deb; do
	package=$(dpkg-deb --field "$deb" Package)
	# No epoch, and a hyphen would begin RPM's release.
	version=$(dpkg-deb --field "$deb" Version | sed 's/^[0-9]*://; s/-/./g')
	tree=$work/trees/$package
	unpack "$deb" "$tree"
	(cd "$tree" && files) >"$work/$package.files"
	units=
	[ ! -d "$tree/usr/lib/systemd/system" ] || units=$(cd "$tree/usr/lib/systemd/system" && echo *)
	rpm_of package.spec --define "package $package" --define "deb_version $version" --define "tree $tree" \
		--define "list $work/$package.files" ${units:+--define "units $units"}
done
touch --date="@$SOURCE_DATE_EPOCH" "$rpms"/*.rpm
createrepo_c --quiet --no-database --revision 1 --set-timestamp-to-revision "$rpms"

say "the RPM database of the image with dnf"
printf '%s\n' /bin/sh 'rtld(GNU_HASH)' >"$work/provides"
find "$root/usr/lib" -type f '(' -name '*.so' -o -name '*.so.*' ')' >"$work/libraries"
/usr/lib/rpm/elfdeps --provides <"$work/libraries" >>"$work/provides"
LC_ALL=C sort --unique --output="$work/provides" "$work/provides"
rpm_of base.spec --define "provides $work/provides" --define "_rpmdir $root"
mkdir -p "$root/etc/rpm" "$root/etc/yum.repos.d" "$root/usr/lib/systemd/system-preset"
# Debian's rpm has its database in the caller's home.
echo '%_dbpath /var/lib/rpm' >"$root/etc/rpm/macros"
mount -t proc proc "$root/proc"
chroot "$root" dnf --quiet --assumeyes --disablerepo='*' install /base.rpm >"$work/log" 2>&1 || {
	umount "$root/proc"
	cat "$work/log" >&2
	exit 1
}
umount "$root/proc"
rm -r "$root/base.rpm" "$root"/usr/bin/apt "$root"/usr/bin/apt-*
# The strictest preset: what a package brings is disabled until something enables it.
echo 'disable *' >"$root/usr/lib/systemd/system-preset/99-default-disable.preset"
cat >"$root/etc/yum.repos.d/lab.repo" <<'REPO'
[lab]
name=The lab's packages
baseurl=http://deb.debian.org/rpm
gpgcheck=0
REPO
