"""HAProxy as on a node: a master process that reloads, the virtual IP, and the addresses of targets and clients.

Targets, clients and HAProxy share one network namespace, so a balancer's file needs no other addresses than its own.
"""

import shutil
import socket
import subprocess
import time

VIP = "10.255.0.10"
CONFIG = "/etc/haproxy/haproxy.cfg"
PID = "/run/haproxy.pid"


def start(config: str = "haproxy.cfg") -> None:
    """Starts HAProxy with a file of this folder. Start the targets before: HAProxy checks them at once."""
    subprocess.run(["mkdir", "-p", "/run/haproxy"], check=True)
    shutil.copy(config, CONFIG)
    subprocess.run(["haproxy", "-W", "-D", "-p", PID, "-f", CONFIG], check=True)
    until(lambda: answering() == revision(config), "HAProxy to answer", 10)


def reload(config: str) -> None:
    """Gives HAProxy another file, as an update does, and waits until the new process answers."""
    assert revision(config) != answering(), f"{config} has the revision that runs"
    shutil.copy(config, CONFIG)
    with open(PID) as file:
        master = file.read().strip()
    last = 0.0

    def answers() -> bool:
        nonlocal last
        # A master that still starts, after an earlier reload, loses the signal.
        if time.monotonic() > last + 2:
            subprocess.run(["kill", "-USR2", master], check=True)
            last = time.monotonic()
        return answering() == revision(config)

    until(answers, "the new process to answer", 20)


def revision(config: str) -> str:
    with open(config) as file:
        return file.readline().split("revision ")[1].split(".")[0]


def answering() -> str:
    """The revision of the process that answers the probe."""
    curl = ["curl", "-s", "--max-time", "2", "http://127.0.0.1:8404/revision"]
    return subprocess.run(curl, capture_output=True, text=True).stdout


def admin(command: str) -> str:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/haproxy/admin.sock")
        s.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def rows(backend: str) -> dict[str, list[str]]:
    """The statistics of each server of a backend."""
    rows = [line.split(",") for line in admin("show stat").splitlines()]
    return {row[1]: row for row in rows if row[0] == backend and row[1] not in ("FRONTEND", "BACKEND")}


def servers(backend: str) -> dict[str, str]:
    """Each server of a backend with its state, such as `UP`."""
    return {name: row[17].split()[0] for name, row in rows(backend).items()}


def sessions(backend: str) -> dict[str, int]:
    """Each server of a backend with the number of its connections."""
    return {name: int(row[4]) for name, row in rows(backend).items()}


def healthy(backend: str, *targets: str, seconds: float = 20) -> None:
    """Waits until these targets of a group are healthy, and no other one is."""

    def seen() -> bool:
        states = servers(backend)
        up = {target for target, state in states.items() if state in ("UP", "no")}
        return up == set(targets)

    until(seen, f"{backend} to have the healthy targets {targets}", seconds, lambda: servers(backend))


def drain(group: str, target: str) -> None:
    """Drains a target: in the backend that serves while all are unhealthy, only maintenance keeps requests away."""
    for command in (f"set server {group}/{target} state drain", f"set server {group}--all/{target} state maint"):
        said = admin(command).strip()
        assert not said, f"{command}: {said}"


def until(condition: object, what: str, seconds: float, state: object = lambda: "") -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}; {state()}"
        time.sleep(0.02)


# Its network is a more specific route than the addresses here.
subprocess.run(["ip", "address", "flush", "dev", "ens5"], check=True)
for network in ("10.0.0.1/16", "10.9.0.1/16", f"{VIP}/32"):
    subprocess.run(["ip", "address", "add", network, "dev", "lo"], check=True)
