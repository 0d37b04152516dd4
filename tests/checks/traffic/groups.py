"""How targets are chosen and checked: weights, the fewest connections, chance, slow start, codes, ports and hosts."""

import collections

import balancer
import clients
import targets

pages = {n: targets.Http(f"10.0.1.{n}:8080") for n in (1, 2, 3)}
checked = {n: targets.Http(f"10.0.1.{n}:8081") for n in (1, 2)}
streams = {n: targets.Tcp(f"10.0.1.{n}:5001") for n in (1, 2)}
for n, status in ((1, 301), (2, 302), (3, 204)):
    pages[n].statuses["/check/matcher"] = status
pages[1].statuses["/check/slow"] = 500
checked[2].status = 500
balancer.start()


def seen(path: str, requests: int) -> dict[int, int]:
    """The targets of these requests, and how many each got."""
    asked = [clients.get(path).asked() for _ in range(requests)]
    return collections.Counter(int(one["target"].split(":")[0].split(".")[3]) for one in asked)


assert seen("/weight", 40) == {1: 30, 2: 10}, "not three parts to one"

assert set(seen("/random", 40)) == {1, 2}

balancer.healthy("matcher", "10.0.1.1:8080", "10.0.1.3:8080")
assert set(seen("/matcher", 10)) == {1, 3}
balancer.healthy("host", "10.0.1.1:8080")
assert set(seen("/host", 10)) == {1}
assert checked[1].checks == {("/check/host", "app.internal")}, checked[1].checks
assert ("/check/matcher", "10.0.1.1:8080") in pages[1].checks, pages[1].checks

balancer.healthy("slow", "10.0.1.2:8080")
pages[1].statuses["/check/slow"] = 200
balancer.healthy("slow", "10.0.1.1:8080", "10.0.1.2:8080")
at_first = seen("/slow", 40)[1]
assert at_first < 12, f"a target that starts slowly got {at_first} of 40"
balancer.until(lambda: seen("/slow", 40)[1] == 20, "the target to get its whole share", 15)

# By the fewest connections: the target that has none gets the next one, again and again.
first, second = clients.stream(5000), clients.stream(5000)
free = first.target
assert {free, second.target} == {"10.0.1.1:5001", "10.0.1.2:5001"}
for _ in range(4):
    first.close()
    balancer.until(lambda: balancer.sessions("stream")[free] == 0, "the connection to end", 5)
    first = clients.stream(5000)
    assert first.target == free, "it isn't the target with the fewest connections"

streams[1].stop()
balancer.healthy("stream", "10.0.1.2:5001")
assert {clients.target(5000) for _ in range(6)} == {"10.0.1.2:5001"}
streams[1].start()
balancer.healthy("stream", "10.0.1.1:5001", "10.0.1.2:5001")
assert {clients.target(5000) for _ in range(6)} == {"10.0.1.1:5001", "10.0.1.2:5001"}
