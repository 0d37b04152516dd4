"""Targets: HTTP servers that tell what they were asked, and TCP servers that greet with their name and echo."""

import base64
import hashlib
import http.server
import json
import socket
import socketserver
import ssl
import subprocess
import threading
import time

from clients import rest


def certificate(name: str) -> ssl.SSLContext:
    """TLS with a certificate of this name."""
    file = f"/tmp/{name}.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*new, "-subj", f"/CN={name}", "-keyout", file, "-out", file], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # HAProxy binds the same port of all addresses.
    allow_reuse_port = True
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error."""


class Target:
    """A server at an address, such as `10.0.1.20:8080`."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        self.address, self.tls = address, tls
        ip, port = address.split(":")
        self.at = (ip, int(port))
        self.start()

    def start(self) -> None:
        target = self

        class Handler(self.handler):
            def setup(self) -> None:
                if target.tls:
                    self.request = target.tls.wrap_socket(self.request, server_side=True)
                self.target = target
                super().setup()

        self.server = Server(self.at, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Refuses connections from now on."""
        self.server.shutdown()
        self.server.server_close()


class HttpHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        target, path = self.target, self.path.split("?")[0]
        is_check = self.headers.get("User-Agent") == "elbow"
        if is_check:
            target.checks.add((path, self.headers["Host"]))
        else:
            target.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if target.is_broken and not is_check:
            self.close_connection = True
        elif path == "/upgrade":
            self.echo()
        elif path == "/download":
            self.download()
        else:
            time.sleep(float(self.headers.get("X-Wait", 0)))
            said = {"target": target.address, "method": self.command, "path": self.path}
            body = json.dumps({**said, "headers": [[name.lower(), value] for name, value in self.headers.items()]})
            self.send_response(target.statuses.get(path, target.status))
            for name, value in target.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    def echo(self) -> None:
        """Switches protocols, as a WebSocket does, and returns all bytes."""
        # RFC 6455, section 4.2.2.
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response_only(101)
        self.send_header("Connection", "upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        for data in iter(lambda: self.connection.recv(4096), b""):
            self.connection.sendall(data)
        self.close_connection = True

    def download(self) -> None:
        """300 bytes in 15 seconds."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n")
        for _ in range(300):
            self.wfile.write(b".")
            time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


class Http(Target):
    """Answers each request with what it was, as JSON. `asked` counts requests, without health checks. `checks` are the
    paths and hosts of these."""

    handler = HttpHandler

    def __init__(self, address: str, status: int = 200, tls: ssl.SSLContext | None = None) -> None:
        self.status, self.asked = status, 0
        self.checks: set[tuple[str, str]] = set()
        # It ends connections without an answer, except to health checks.
        self.is_broken = False
        # Other codes for some paths, and headers of all answers.
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        super().__init__(address, tls)


class TcpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.greet()
        for data in iter(lambda: self.request.recv(4096), b""):
            if data == b"half\n":
                return self.half()
            self.request.sendall(data)
        # Without this it closes its end when the client has closed its own.
        self.target.may_close.wait()

    def half(self) -> None:
        """Closes its own end, and notes what still comes and how long the other end lasts."""
        self.request.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        got = rest(self.request)
        self.target.half_closed.append((got, time.monotonic() - began))

    def greet(self) -> None:
        self.request.sendall(f"{self.target.address}\n".encode())


class Tcp(Target):
    """Greets with its address and returns all bytes. After the line `half` it closes its own end."""

    handler = TcpHandler

    def __init__(self, address: str) -> None:
        self.half_closed: list[tuple[bytes, float]] = []
        self.may_close = threading.Event()
        self.may_close.set()
        super().__init__(address)


class ProxiedHandler(TcpHandler):
    def greet(self) -> None:
        head = self.request.recv(16, socket.MSG_WAITALL)
        assert head[:12] == b"\r\n\r\n\0\r\nQUIT\n", head
        rest = self.request.recv(int.from_bytes(head[14:16], "big"), socket.MSG_WAITALL)
        super().greet()
        # A health check's header is LOCAL, without addresses.
        if head[12] == 0x21:
            source, to = (socket.inet_ntoa(rest[at : at + 4]) for at in (0, 4))
            self.request.sendall(f"{source} to {to}\n".encode())


class Proxied(Tcp):
    """The same behind a PROXY protocol version 2 header. It greets with the addresses of the header, too."""

    handler = ProxiedHandler
