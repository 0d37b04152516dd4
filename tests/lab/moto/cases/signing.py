"""Signs requests to S3 with the standard library only, as a node does, so that a wrong check isn't hidden by the SDK
that shares its code.

IAM User Guide, "Create a signed AWS API request"; S3 API reference, "Signature calculations for the Authorization
header: Transferring payload in multiple chunks" and "... including trailing headers".
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

REGION = "eu-west-1"
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass
class Answer:
    """An answer of S3."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        """The error's code."""
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found[1].decode() if found else None


@dataclass
class Signer:
    """Sends signed requests with these credentials, in virtual-hosted style."""

    server: Any
    credentials: dict[str, str]
    service: str = "s3"
    region: str = REGION
    # How far its clock is ahead.
    ahead: datetime.timedelta = datetime.timedelta()
    # Whether a chunk is changed on its way.
    tampered: bool = False

    def send(
        self,
        method: str,
        bucket: str,
        key: str = "",
        body: bytes = b"",
        content: str | None = None,
        unsigned: dict[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        """Sends a request. `headers` have `_` for `-`; `unsigned` headers are sent without being signed."""
        now = (datetime.datetime.now(datetime.UTC) + self.ahead).strftime("%Y%m%dT%H%M%SZ")
        content = content or hashlib.sha256(body).hexdigest()
        signed = {
            "host": f"{bucket}.s3.{REGION}.amazonaws.com",
            "x-amz-content-sha256": content,
            "x-amz-date": now,
            **({"x-amz-security-token": self.credentials["Token"]} if self.credentials["Token"] else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        path, names = f"/{quote(key)}", ";".join(sorted(signed))
        canonical = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
        request = "\n".join([method, path, "", canonical, names, content])
        scope = f"{now[:8]}/{self.region}/{self.service}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = self._sign(scope, text)
        if content.startswith("STREAMING-AWS4"):
            body = self._chunked(body, content, now, scope, signature)
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.credentials['AccessKeyId']}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return send(self.server, method, path, body, {**signed, **(unsigned or {})})

    def _sign(self, scope: str, text: str) -> str:
        key = f"AWS4{self.credentials['SecretAccessKey']}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key.hex()

    def _chunked(self, body: bytes, content: str, now: str, scope: str, last: str) -> bytes:
        """The body in two signed chunks, with its SHA-256 as a signed trailer."""
        half, encoded = len(body) // 2, b""
        for piece in (body[:half], body[half:], b""):
            digest = hashlib.sha256(piece).hexdigest()
            last = self._sign(scope, "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", now, scope, last, _EMPTY, digest]))
            sent = piece.swapcase() if self.tampered else piece
            encoded += f"{len(piece):x};chunk-signature={last}\r\n".encode() + sent + (b"\r\n" if piece else b"")
        if content.endswith("-TRAILER"):
            trailer = f"x-amz-checksum-sha256:{base64_sha256(body)}"
            digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
            last = self._sign(scope, "\n".join(["AWS4-HMAC-SHA256-TRAILER", now, scope, last, digest]))
            encoded += f"{trailer}\r\nx-amz-trailer-signature:{last}\r\n".encode()
        return encoded + b"\r\n"


def base64_sha256(body: bytes) -> str:
    """A SHA-256 as in `x-amz-checksum-sha256`."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def send(server: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """Sends a request as it is."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
    finally:
        connection.close()
