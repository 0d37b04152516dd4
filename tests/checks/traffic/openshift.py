"""OpenShift: TLS passes through unchanged, `/readyz` decides about a target, a client's address about its router, and
the bootstrap machine goes when the cluster runs."""

import ssl

import balancer
import clients
import targets

BOOTSTRAP, MASTERS, ROUTERS = "10.0.1.9", ["10.0.1.10", "10.0.2.10", "10.0.3.10"], ["10.0.1.30", "10.0.2.30"]
tls = {ip: targets.certificate(ip) for ip in [BOOTSTRAP, *MASTERS, *ROUTERS]}
api = {ip: targets.Http(f"{ip}:6443", tls=tls[ip]) for ip in [BOOTSTRAP, *MASTERS]}
machine_config = {ip: targets.Http(f"{ip}:22623", tls=tls[ip]) for ip in [BOOTSTRAP, *MASTERS]}
routers = [targets.Http(f"{ip}:443", tls=tls[ip]) for ip in ROUTERS] + [targets.Http(f"{ip}:80") for ip in ROUTERS]
# It answers on its port and isn't ready.
api["10.0.3.10"].statuses["/readyz"] = 500
balancer.start()
balancer.healthy("api", "10.0.1.9:6443", "10.0.1.10:6443", "10.0.2.10:6443")


def secure(port: int, source: str | None = None) -> str:
    """The target that answers, which must be the one with the certificate."""
    answer, certificate = clients.secure(port, source)
    ip = answer.target().split(":")[0]
    with open(f"/tmp/{ip}.pem") as file:
        assert ssl.DER_cert_to_PEM_cert(certificate) in file.read(), f"{ip} answers with another certificate"
    return ip


def plain(port: int, source: str) -> str:
    return clients.get(port=port, source=source).target().split(":")[0]


assert {secure(6443) for _ in range(12)} == {BOOTSTRAP, "10.0.1.10", "10.0.2.10"}
assert {secure(22623) for _ in range(12)} == {BOOTSTRAP, *MASTERS}
for port, ask in ((80, plain), (443, secure)):
    first = {n: ask(port, f"10.9.0.{n}") for n in range(2, 22)}
    # In the other order, as without a hash the turns would be the same.
    again = {n: ask(port, f"10.9.0.{n}") for n in reversed(first)}
    assert first == again, f"a client changed its router: {first}, {again}"
    assert set(first.values()) == set(ROUTERS), f"not all routers serve: {first}"

balancer.reload("changed.cfg")
before = api[BOOTSTRAP].asked, machine_config[BOOTSTRAP].asked
seen = {secure(6443) for _ in range(12)} | {secure(22623) for _ in range(12)}
assert seen <= set(MASTERS), seen
assert before == (api[BOOTSTRAP].asked, machine_config[BOOTSTRAP].asked)
