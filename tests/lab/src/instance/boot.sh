#!/bin/sh
# Runs an instance, in its own mount namespace, so that its mounts end with it.
# machine.rs sets ID, CGROUP, FOLDER, IMAGE, NAMESPACE, UUID and HOST in the environment.
set -eu

# From here on, all processes are in the instance's cgroup.
echo $$ >"$CGROUP/cgroup.procs"
# On hosts with cgroup version 1: systemd in the instance uses what it finds here, and needs version 2.
if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
	umount --recursive /sys/fs/cgroup || true
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t overlay overlay -o "lowerdir=$IMAGE,upperdir=$FOLDER/disk/upper,workdir=$FOLDER/disk/work" "$FOLDER/root"

# With a given network namespace, systemd-nspawn grants CAP_NET_ADMIN only on request.
boot() {
	env SYSTEMD_NSPAWN_API_VFS_WRITABLE=network systemd-nspawn --quiet --boot --register=no --keep-unit \
		--directory="$FOLDER/root" --machine="$ID" --hostname="$HOST" --uuid="$UUID" \
		--network-namespace-path="/run/netns/$NAMESPACE" --capability=CAP_NET_ADMIN,CAP_IPC_LOCK \
		--bind-ro="$FOLDER/hypervisor:/sys/hypervisor" --resolv-conf=off --timezone=off --link-journal=no \
		--console=read-only --kill-signal=SIGRTMIN+3
}

# 133 means that the system inside reboots; a real machine's addresses and firewall rules would be gone.
status=0
boot || status=$?
while [ "$status" = 133 ]; do
	ip -n "$NAMESPACE" address flush dev lo scope global
	ip netns exec "$NAMESPACE" nft flush ruleset
	status=0
	boot || status=$?
done
exit "$status"
