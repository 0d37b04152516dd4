"""While all targets are sick they serve, except a drained one and one without weight. Persistence holds in both states.
An empty group and a group that fails closed answer 503."""

import collections

import balancer
import clients
import targets

pages = {n: targets.Http(f"10.0.1.{n}:8080") for n in (1, 2, 3, 4)}
streams = [targets.Tcp(f"10.0.1.{n}:5000") for n in (1, 2)]
balancer.start()


def are_healthy(*healthy: int) -> None:
    for n, page in pages.items():
        page.statuses["/healthz"] = 200 if n in healthy else 500
    for group, members in (("open", (1, 2, 3, 4)), ("closed", (1, 2)), ("two", (1, 2, 3))):
        balancer.healthy(group, *(f"10.0.1.{n}:8080" for n in healthy if n in members))
    balancer.healthy("stream", *(f"10.0.1.{n}:5000" for n in healthy if n < 3))


def seen(path: str = "/", cookies: dict[str, str] | None = None) -> dict[int, int]:
    """The targets of 30 requests, and how many each got."""
    answers = [clients.get(path, cookies=cookies).target() for _ in range(30)]
    return collections.Counter(int(target.split(":")[0].split(".")[3]) for target in answers)


are_healthy(1, 2, 3, 4)
assert seen() == {1: 10, 2: 10, 3: 10}, "the target without weight got a request, or the others not the same"
clients_of = {}
while len(clients_of) < 3:
    answer = clients.get()
    clients_of[int(answer.target().split(":")[0].split(".")[3])] = answer.cookies()
source = {n: clients.target(5000, f"10.9.0.{n}") for n in range(2, 22)}
assert len(set(source.values())) == 2, source

# One of three is sick: it gets none, and its clients go elsewhere.
are_healthy(1, 2, 4)
assert seen() == {1: 15, 2: 15}
assert set(seen(cookies=clients_of[2])) == {2} and 3 not in seen(cookies=clients_of[3])
# One of three is healthy, and the group needs two.
are_healthy(1, 4)
assert seen("/two") == {1: 10, 2: 10, 3: 10} and seen("/") == {1: 30}

# All are sick.
are_healthy()
assert seen() == {1: 10, 2: 10, 3: 10}
for n, cookies in clients_of.items():
    assert seen(cookies=cookies) == {n: 30}, f"the cookie of {n} leads elsewhere when all are sick"
# In the other order, as without a memory the turns would be the same.
assert {n: clients.target(5000, f"10.9.0.{n}") for n in reversed(source)} == source, "clients changed their targets"
assert clients.get("/closed").status == 503 and clients.get("/empty").status == 503

# One is drained, as the agent does it, and the rest sick.
balancer.drain("open", "10.0.1.3:8080")
assert seen() == {1: 15, 2: 15}
assert 3 not in seen(cookies=clients_of[3]), "a drained target got its old client while the group fails open"
# Healthy again: the drained target still gets no new clients, and the cookies still hold.
are_healthy(1, 2)
assert seen() == {1: 15, 2: 15} and seen(cookies=clients_of[2]) == {2: 30}
# All drained: the group is as an empty one.
for n in (1, 2):
    balancer.drain("open", f"10.0.1.{n}:8080")
assert clients.get().status == 503
