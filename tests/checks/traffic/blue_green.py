"""Blue and green: a fifth of the clients gets green, and stays there and on its target. A header chooses green. The
same for TLS, where green's targets get the PROXY protocol."""

import collections

import balancer
import clients
import targets

BLUE, GREEN = ["10.0.1.20", "10.0.2.20"], ["10.0.1.21", "10.0.2.21"]
pages = [targets.Http(f"{ip}:8080") for ip in BLUE + GREEN]
blue = [targets.Tcp(f"{ip}:8443") for ip in BLUE]
green = [targets.Proxied(f"{ip}:8443") for ip in GREEN]
COOKIE = "elbow-blue-green"


def group(target: str) -> str:
    return "green" if target.split(":")[0] in GREEN else "blue"


def is_a_fifth(seen: list[str]) -> None:
    """Within five standard deviations, so that chance fails one run in a million."""
    number = len(seen)
    part = collections.Counter(seen)["green"]
    assert abs(part - number / 5) < 5 * (number * 0.2 * 0.8) ** 0.5, f"green got {part} of {number}"


balancer.start()
for name in ("blue", "green"):
    balancer.healthy(name, *(f"{ip}:8080" for ip in (BLUE if name == "blue" else GREEN)))

first = [clients.get() for _ in range(500)]
is_a_fifth([group(answer.target()) for answer in first])
for answer in first[:30]:
    cookies = answer.cookies()
    assert cookies[COOKIE] == group(answer.target()), cookies
    again = {clients.get(cookies=cookies).target() for _ in range(8)}
    assert again == {answer.target()}, f"{cookies} of {answer.target()} led to {again}"
in_blue = next(answer for answer in first if group(answer.target()) == "blue")
canary = [("X-Canary", "yes")]
for cookies in ({}, in_blue.cookies()):
    assert {group(clients.get(headers=canary, cookies=cookies).target()) for _ in range(10)} == {"green"}
assert clients.get(headers=canary).cookies().get(COOKIE) is None, "the canary's cookie would bind the client to green"
assert {group(clients.get(headers=[("X-Canary", "no")], cookies=in_blue.cookies()).target())} == {"blue"}

# Each client address is bound to one of blue's targets, if it gets blue.
bound: dict[str, str] = {}
seen = []
for n in range(300):
    source = f"10.9.0.{2 + n % 20}"
    with clients.connect(443, source) as connection:
        target = clients.Stream(connection)
        seen.append(group(target.target))
        if seen[-1] == "blue":
            assert bound.setdefault(source, target.target) == target.target, f"{source} changed its target"
        else:
            assert target.line() == f"{source} to {balancer.VIP}", "green got no client's address"
is_a_fifth(seen)
assert len(set(bound.values())) == 2, bound
