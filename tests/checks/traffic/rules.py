"""Rules, rewrites, redirects, headers, ids and limits, each by requests that match and requests that don't."""

import re
import socket
import time

import balancer
import clients
import targets
from clients import get

NAMES = {1: "rest", 2: "host", 3: "path", 4: "header", 5: "query", 6: "source", 7: "range", 8: "none"}
pages = {n: targets.Http(f"10.0.1.{n}:8080") for n in NAMES}
ranged = targets.Tcp("10.0.1.7:40003")
balancer.start()


def group(answer: clients.Answer) -> str:
    return NAMES[int(answer.target().split(":")[0].split(".")[3])]


FORWARDED = [
    ("rest", {}),
    ("host", {"host": "api.example.com"}),
    ("host", {"host": "API.EXAMPLE.COM:80"}),
    ("host", {"host": "deep.er.api.example.com"}),
    ("host", {"host": "v1.example.com"}),
    ("rest", {"host": "v12.example.com"}),
    ("host", {"host": "abc.regex.example"}),
    ("rest", {"host": "abd.regex.example"}),
    ("rest", {"host": "api.example.com.evil.example"}),
    ("path", {"path": "/exact"}),
    ("path", {"path": "/exact?a=b"}),
    ("rest", {"path": "/Exact"}),
    ("rest", {"path": "/exact/"}),
    ("path", {"path": "/below/"}),
    ("rest", {"path": "/below"}),
    ("path", {"path": "/a/b.png"}),
    ("rest", {"path": "/a/b.png.html"}),
    ("rest", {"path": "/a?b.png"}),
    ("path", {"path": "/in/a/b/side"}),
    ("rest", {"path": "/in/side"}),
    ("path", {"path": "/one1"}),
    ("rest", {"path": "/one"}),
    ("path", {"path": "/123"}),
    ("rest", {"path": "/123a"}),
    ("header", {"headers": [("X-Version", "1")]}),
    ("header", {"headers": [("x-version", "2, 3")]}),
    ("rest", {"headers": [("X-Version", "2")]}),
    ("header", {"headers": [("X-Version", "Beta9")], "method": "PUT"}),
    ("rest", {"headers": [("X-Version", "1")], "method": "POST"}),
    ("query", {"path": "/?a=1&version=2"}),
    ("query", {"path": "/?version=beta-7"}),
    ("rest", {"path": "/?version=21"}),
    ("rest", {"path": "/?conversion=2"}),
    ("source", {"source": "10.9.1.200"}),
    ("source", {"source": "10.9.2.7"}),
    ("rest", {"source": "10.9.2.8"}),
    # The first rule that matches decides.
    ("host", {"host": "api.example.com", "path": "/exact", "source": "10.9.1.200"}),
]
for expected, request in FORWARDED:
    seen = group(get(**request))
    assert seen == expected, f"{request} went to {seen}, not to {expected}"

answer = get("/v1/a/b?x=y", host="outside.example.com")
asked = answer.asked()
assert group(answer) == "rest" and asked["path"] == "/new/a/b?from=v1", asked
assert ["host", "inside.example.com"] in asked["headers"], asked
assert get("/v2/a").asked()["path"] == "/v2/a"
# A rule that decides earlier keeps the request as it is.
asked = get("/v1/a", host="api.example.com").asked()
assert asked["path"] == "/v1/a" and ["host", "api.example.com"] in asked["headers"], asked

REDIRECTED = [
    ("/to/https?a=b", "example.com", 301, "https://example.com/to/https?a=b"),
    ("/to/https", "example.com:80", 301, "https://example.com/to/https"),
    ("/to/port?a=b", "example.com", 302, "https://example.com:8443/to/port"),
    ("/to/host?a=b", "example.com:80", 308, "http://www.example.com/to/host?a=b"),
    ("/to/path/x?a=b", "example.com:8000", 303, "http://example.com:8000/moved/to/path/x?a=b"),
    ("/to/path/x", "example.com", 303, "http://example.com/moved/to/path/x"),
    ("/to/query?a=b", "example.com:80", 307, "http://example.com:80/?was=to/query&on=example.com:80&by=http&with=a=b"),
]
for path, host, status, location in REDIRECTED:
    answer = get(path, host)
    assert (answer.status, answer.header("location")) == (status, location), (path, host, answer.status, answer.headers)

answer = get("/respond")
assert (answer.status, answer.header("content-type")) == (418, "text/html"), answer.headers
assert answer.body == "<b>100% 'tea'</b>"
assert get("/respond/empty").status == 204

# Answers of targets, of rules and of HAProxy itself have the listener's headers.
for path in ("/", "/respond", "/to/https"):
    answer = get(path)
    assert answer.header("strict-transport-security") == "max-age=31536000", answer.headers
    assert answer.header("server") is None, answer.headers
    assert answer.header("x-part") == "100% of #{host}", answer.headers
assert get(port=81).header("server"), "the target sends no header to remove"


def headers(name: str, **request: object) -> list[str]:
    """The values of a header that the target got."""
    return [value for key, value in get(**request).asked()["headers"] if key == name]


sent, source = [("X-Forwarded-For", "192.0.2.1")], "10.9.0.9"
assert headers("x-forwarded-for", port=81, source=source, headers=sent) == ["192.0.2.1", source]
assert headers("x-forwarded-for", port=83, source=source, headers=sent) == ["192.0.2.1"]
assert headers("x-forwarded-for", port=84, source=source, headers=sent) == []
first, second = headers("x-forwarded-for", port=82, source=source, headers=sent)
assert first == "192.0.2.1" and second.split(":")[0] == source and 0 < int(second.split(":")[1]) < 65536, second
assert headers("x-forwarded-port", port=82) == ["82"] and headers("x-forwarded-proto") == ["http"]
forged = [("X_Forwarded_For", "192.0.2.1"), ("X-Good", "1")]
assert headers("x_forwarded_for", headers=forged) == [] and headers("x-good", headers=forged) == ["1"]

# Each request has an id, the client's or a new one. The target gets it, and the log shows it.
ID, NEW = "X-Amzn-Trace-Id", re.compile(r"Root=1-([0-9a-f]{8})-[0-9a-f]{24}")
log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
log.bind(("127.0.0.1", 514))
log.settimeout(clients.LIMIT)


def logged(path: str) -> str:
    """The id in the log of a request for this path."""
    while True:
        line = log.recv(65536).decode("latin-1").strip()
        before, is_it, after = line.partition(f' "GET {path} HTTP/1.1"')
        if is_it:
            assert after == "" and before.endswith("}") and before.count("{") == before.count("}") == 1, line
            return before.partition("{")[2][:-1]


ids = set()
for sent in ([], [], [(ID, "")]):
    (new,) = headers(ID.lower(), path="/id/new", headers=sent)
    match = NEW.fullmatch(new)
    assert match and abs(int(match[1], 16) - time.time()) < 60 and logged("/id/new") == new, new
    ids.add(new)
assert len(ids) == 3, ids
for sent, shown in (
    ("Root=1-67891233-abcdef012345678912345678", None),
    ("Self=1-67891234-12456789abcdef0123456789;Root=1-67891233-abcdef012345678912345678;CalledFrom=app", None),
    ("one, two", None),
    # The log shows 128 characters, and what could end the field, or the line, as #XX.
    ('a"b}c{d|e#f\tg %[src]', "a#22b#7Dc#7Bd#7Ce#23f#09g %[src]"),
    ('"' * 300, "#22" * 128),
):
    assert headers(ID.lower(), path="/id/sent", headers=[(ID, sent)]) == [sent]
    seen = logged("/id/sent")
    assert seen == (shown or sent), f"{sent}: {seen}"
# Answers without a target have one, too.
assert get("/respond").status == 418 and NEW.fullmatch(logged("/respond"))
log.close()
trace = [["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], ["tracestate", "a=1,b=2"]]
asked = get(headers=[(name, value) for name, value in trace]).asked()["headers"]
assert [header for header in asked if header[0].startswith("trace")] == trace, asked

# A client's limit is no other client's.
statuses = [get(port=85).status for _ in range(7)]
assert statuses == [200] * 5 + [429] * 2, statuses
assert get(port=85, source=source).status == 200
# Two requests a second are within it.
balancer.until(lambda: time.sleep(0.5) or get(port=85).status == 200, "the limit to end", 8)

# Only a listed proxy may name the client.
forged = b"PROXY TCP4 192.0.2.77 10.255.0.10 5555 86\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
for proxy, status in (("10.9.3.1", 200), ("10.9.4.1", 400)):
    with clients.connect(86, proxy) as connection:
        connection.sendall(forged)
        answer = clients.Answer(clients.rest(connection))
        assert answer.status == status, f"{proxy}: {answer.status}"
        assert status == 400 or ["x-forwarded-for", "192.0.2.77"] in answer.asked()["headers"], answer.body
assert headers("x-forwarded-for", port=86, source="10.9.4.1") == ["10.9.4.1"]

assert clients.target(40003) == "10.0.1.7:40003"

# Only the agent's listener probe, from 127.0.0.1, sees the target's name. HAProxy's own answers name none.
PROBE, NAMED = "127.0.0.1", "x-elbow-target"
answer = get(port=81, source=PROBE)
assert answer.header(NAMED) == answer.target(), answer.headers
for answer in (get(port=81), get(port=81, source=source), get("/respond", source=PROBE)):
    assert answer.header(NAMED) is None, answer.headers
with clients.connect(40003, PROBE) as connection:
    mine = f" src={PROBE}:{connection.getsockname()[1]} "

    def shown() -> str:
        """What HAProxy shows of this connection."""
        return next((line for line in balancer.admin("show sess").splitlines() if mine in line), "")

    balancer.until(lambda: " srv=10.0.1.7 " in shown() and " scb=[8," in shown(), "the connection's target", 5, shown)

# A target that ends connections without an answer.
pages[8].is_broken = True
for method, expected in (("GET", {200}), ("HEAD", {200}), ("POST", {200, 502})):
    seen = {get("/", method=method, port=87).status for _ in range(4)}
    assert seen == expected, f"{method} with retry: {seen}"
assert {get("/", port=88).status for _ in range(4)} == {200, 502}, "without retry"
for answer in [get("/", port=88, source=PROBE) for _ in range(4)]:
    assert (answer.header(NAMED) is None) == (answer.status == 502), (answer.status, answer.headers)

# Each target opens a session of its own; a request without one goes to the next target.
for n in (1, 2, 3):
    pages[n].headers["Set-Cookie"] = f"JSESSIONID=session-of-{n}; Path=/"
sessions = {}
for _ in range(6):
    answer = get(port=89)
    sessions[answer.target()] = answer.cookies()
assert len(sessions) == 3, sessions
for page in pages.values():
    page.headers.clear()
for target, cookies in sessions.items():
    assert {get(port=89, cookies=cookies).target() for _ in range(6)} == {target}, f"{cookies} left {target}"
