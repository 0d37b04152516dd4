#!/bin/sh
# Runs an instance: started in a mount namespace of its own, so that its mounts end with it, however it ends.
# ID, CGROUP, FOLDER, IMAGE, NAMESPACE, UUID and HOST come in the environment; see machine.rs.
set -eu

# Everything from here on is in the instance's cgroup, and can be found, frozen and killed by it.
echo $$ >"$CGROUP/cgroup.procs"
# Hosts that still have version 1 there: systemd in the instance takes whichever it finds, and needs this one.
if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
	umount --recursive /sys/fs/cgroup || true
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t overlay overlay -o "lowerdir=$IMAGE,upperdir=$FOLDER/disk/upper,workdir=$FOLDER/disk/work" "$FOLDER/root"

# CAP_NET_ADMIN isn't given along with a network namespace: it has to be asked for.
boot() {
	env SYSTEMD_NSPAWN_API_VFS_WRITABLE=network systemd-nspawn --quiet --boot --register=no --keep-unit \
		--directory="$FOLDER/root" --machine="$ID" --hostname="$HOST" --uuid="$UUID" \
		--network-namespace-path="/run/netns/$NAMESPACE" --capability=CAP_NET_ADMIN,CAP_IPC_LOCK \
		--bind-ro="$FOLDER/hypervisor:/sys/hypervisor" --resolv-conf=off --timezone=off --link-journal=no \
		--console=read-only --kill-signal=SIGRTMIN+3
}

# 133 says that the system inside wants to start again; what it had set in its network's memory is gone by then.
status=0
boot || status=$?
while [ "$status" = 133 ]; do
	ip -n "$NAMESPACE" address flush dev lo scope global
	ip netns exec "$NAMESPACE" nft flush ruleset
	status=0
	boot || status=$?
done
exit "$status"
