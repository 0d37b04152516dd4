"""PostgreSQL with Patroni: the port 8008 says which node is primary. When it changes, connections end. While no node is
primary, none gets writes. A node gets 100 connections at most."""

import balancer
import clients
import targets

NODES = ["10.0.1.30", "10.0.2.30", "10.0.3.30"]
databases = [targets.Tcp(f"{ip}:5432") for ip in NODES]
patroni = {ip: targets.Http(f"{ip}:8008") for ip in NODES}


def is_primary(primary: str | None) -> None:
    for ip, page in patroni.items():
        page.statuses = {"/primary": 200 if ip == primary else 503, "/replica": 503 if ip == primary else 200}


def at(*nodes: str) -> list[str]:
    return [f"{node}:5432" for node in nodes]


is_primary("10.0.1.30")
balancer.start()
balancer.healthy("primary", *at("10.0.1.30"))
balancer.healthy("replicas", *at("10.0.2.30", "10.0.3.30"))
assert {clients.target(5432) for _ in range(6)} == set(at("10.0.1.30"))
assert {clients.target(5433) for _ in range(6)} == set(at("10.0.2.30", "10.0.3.30"))

writers = [clients.stream(5432) for _ in range(100)]
waiting = clients.connect(5432)
clients.is_silent(waiting, 0.5)
writers.pop().close()
assert clients.Stream(waiting).target == "10.0.1.30:5432"

is_primary(None)
balancer.healthy("primary")
for writer in writers:
    writer.ends_within(2)
assert clients.target(5432) == "", "a node that isn't primary got a connection"
is_primary("10.0.2.30")
balancer.healthy("primary", *at("10.0.2.30"))
assert {clients.target(5432) for _ in range(6)} == set(at("10.0.2.30"))
