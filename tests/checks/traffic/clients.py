"""Clients of the virtual IP: single requests, and connections that last."""

import json
import select
import socket
import ssl
import time

from balancer import VIP

LIMIT = 10
WEB_SOCKET = (
    "Connection: upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
)


class Answer:
    def __init__(self, text: bytes) -> None:
        head, _, body = text.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers = [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines)]
        self.body = body.decode("latin-1")

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def cookies(self) -> dict[str, str]:
        set_by = [value.split(";")[0].split("=", 1) for key, value in self.headers if key == "set-cookie"]
        return dict(set_by)

    def asked(self) -> dict:
        """What the target was asked."""
        return json.loads(self.body)

    def target(self) -> str:
        assert self.status == 200, f"{self.status} {self.headers} {self.body}"
        return self.asked()["target"]


def connect(port: int, source: str | None = None) -> socket.socket:
    return socket.create_connection((VIP, port), LIMIT, source and (source, 0))


def get(
    path: str = "/",
    host: str = "example.com",
    headers: list[tuple[str, str]] | None = None,
    cookies: dict[str, str] | None = None,
    method: str = "GET",
    port: int = 80,
    source: str | None = None,
) -> Answer:
    """A request on a connection of its own. Status 0: the connection ended without an answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers or [])]
    if cookies:
        lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()))
    with connect(port, source) as connection:
        connection.sendall(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1"))
        return Answer(rest(connection))


def ask(connection: socket.socket, path: str = "/", more: str = "") -> None:
    """Sends a request on a connection that is kept."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: example.com\r\n{more}\r\n".encode())


def answer(connection: socket.socket) -> Answer:
    """The answer on a connection that is kept."""
    text = b""
    while True:
        data = connection.recv(65536)
        text += data
        head, end, body = text.partition(b"\r\n\r\n")
        if not data or (end and len(body) >= int(Answer(head).header("content-length") or 0)):
            return Answer(text)


def web_socket() -> "Stream":
    connection = connect(80)
    ask(connection, "/upgrade", WEB_SOCKET)
    head = connection.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return Stream(connection, greets=False)


def rest(connection: socket.socket) -> bytes:
    """All bytes until the connection ends."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


def is_silent(connection: socket.socket, seconds: float) -> None:
    """Fails if the connection gets bytes, or ends, within this time."""
    readable, _, _ = select.select([connection], [], [], seconds)
    assert not readable, f"the connection got {connection.recv(100)}"


class Stream:
    """A connection to a target that greets with its address."""

    def __init__(self, connection: socket.socket, greets: bool = True) -> None:
        self.connection = connection
        self.target = self.line() if greets else ""

    def line(self) -> str:
        """A line, without its end; empty if the connection ended."""
        text = b""
        try:
            while not text.endswith(b"\n"):
                byte = self.connection.recv(1)
                if not byte:
                    break
                text += byte
        except ConnectionResetError:
            pass
        return text.decode().strip()

    def sends(self) -> bool:
        try:
            self.connection.sendall(b"still there?\n")
        except OSError:
            return False
        return True

    def echoes(self) -> bool:
        return self.sends() and self.line() == "still there?"

    def ends_within(self, seconds: float) -> float:
        """How long after now the connection ended; fails if it lasts longer."""
        began = time.monotonic()
        readable, _, _ = select.select([self.connection], [], [], seconds)
        assert readable, f"the connection still lasts after {seconds} s"
        assert self.line() == "", "the connection got data"
        return time.monotonic() - began

    def close(self) -> None:
        self.connection.close()


def stream(port: int, source: str | None = None) -> Stream:
    return Stream(connect(port, source))


def target(port: int, source: str | None = None) -> str:
    """The target of a new connection; empty if HAProxy ends it."""
    with connect(port, source) as connection:
        return Stream(connection).target


def secure(port: int, source: str | None = None) -> tuple[Answer, bytes]:
    """A request over TLS, and the certificate of the other side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(port, source)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        return Answer(rest(connection)), connection.getpeercert(binary_form=True)
