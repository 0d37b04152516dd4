"""Galera: one node gets all connections; when it is unhealthy they end, and one backup gets all. Without a healthy node
none gets any."""

import balancer
import clients
import targets

NODES = ["10.0.1.40", "10.0.2.40", "10.0.3.40"]
databases = [targets.Tcp(f"{ip}:3306") for ip in NODES]
clustercheck = {ip: targets.Http(f"{ip}:9200") for ip in NODES}


def are_healthy(*nodes: str) -> None:
    for ip, page in clustercheck.items():
        page.status = 200 if ip in nodes else 503
    balancer.healthy("galera", *(f"{node}:3306" for node in nodes))


balancer.start()
are_healthy(*NODES)
writers = [clients.stream(3306) for _ in range(6)]
assert {writer.target for writer in writers} == {"10.0.1.40:3306"}, "more than the one writer"

are_healthy("10.0.2.40", "10.0.3.40")
for writer in writers:
    writer.ends_within(2)
assert {clients.target(3306) for _ in range(6)} == {"10.0.2.40:3306"}, "more than one backup"
are_healthy()
assert clients.target(3306) == "", "an unhealthy node got a connection"
are_healthy(*NODES)
assert {clients.target(3306) for _ in range(6)} == {"10.0.1.40:3306"}
