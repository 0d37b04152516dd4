"""Writes lines as HAProxy does, first without a receiver. Then this becomes the receiver, and waits for all of them."""

import pathlib
import re
import socket
import threading
import time

# rsyslog's queue holds 10,000 of them in memory. Its socket holds more than are written at once.
LINES, AT_ONCE, LIMIT = 12_000, 100, 20
FORM = re.compile(rb"<150>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) (\S+) haproxy 7 - - line (\d+) x+")
LOG, QUEUE = pathlib.Path("/var/log/haproxy.log"), pathlib.Path("/var/spool/rsyslog")


def until(condition: object, what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited {LIMIT} s for {what}"
        time.sleep(0.02)


haproxy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
LOG.touch()
with LOG.open() as log:
    for first in range(0, LINES, AT_ONCE):
        for number in range(first, first + AT_ONCE):
            line = b"<150>Nov 30 12:00:00 haproxy[7]: line %d %s" % (number, b"x" * 400)
            haproxy.sendto(line, ("127.0.0.1", 514))
        written: list[str] = []
        until(lambda: written.append(log.read()) or "".join(written).count("\n") == AT_ONCE, "the node's own log")
until(lambda: list(QUEUE.glob("elbow-syslog.0*")), "lines on disk")

# rsyslog may send a line twice.
got: set[bytes] = set()


def receive(connection: socket.socket) -> None:
    with connection.makefile("rb") as lines:
        got.update(iter(lines.readline, b""))


def accept(listener: socket.socket) -> None:
    # The queue's parts in memory and on disk have connections of their own.
    while True:
        threading.Thread(target=receive, args=[listener.accept()[0]], daemon=True).start()


listener = socket.create_server(("10.0.1.10", 6514))
threading.Thread(target=accept, args=[listener], daemon=True).start()
until(lambda: len(got) >= LINES, "the receiver's lines")
lines = [FORM.fullmatch(line.rstrip(b"\n")) for line in got]
assert all(lines), [line for line in got if not FORM.match(line)]
assert {line[1].decode() for line in lines} == {socket.gethostname().split(".")[0]}, lines[0]
assert sorted(int(line[2]) for line in lines) == list(range(LINES)), len(lines)
print("the receiver has all lines")
