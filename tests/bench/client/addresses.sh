#!/bin/sh
# Gives this instance client addresses, each for the processes of one user. COUNT: the number of addresses.
set -eu
count=$1
gateway=$(ip -4 route show default | sed 's/^default via \([^ ]*\).*/\1/')
for n in $(seq "$count"); do
	user=$((7000 + n))
	ip address add "100.64.7.$n/32" dev eth0
	ip rule add uidrange "$user-$user" lookup "$user"
	ip route add default via "$gateway" dev eth0 src "100.64.7.$n" table "$user"
done
