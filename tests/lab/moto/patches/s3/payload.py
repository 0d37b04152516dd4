"""Checks a body against the digests of its request, and decodes it.

S3 API reference, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"
(`x-amz-content-sha256`), "Signature calculations for the Authorization header: Transferring payload in multiple chunks"
and "... including trailing headers" (aws-chunked), "Error responses" (BadDigest, IncompleteBody, InvalidDigest,
XAmzContentSHA256Mismatch); S3 User Guide, "Checking object integrity in Amazon S3".
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable

from patches.s3.errors import Refused, invalid, unsupported
from patches.s3.request import Asked
from patches.s3.signature import Signed, mismatch

_ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
_OTHERS = ("crc32c", "crc64nvme", "md5", "sha512", "xxhash3", "xxhash64", "xxhash128")
_EMPTY = hashlib.sha256(b"").hexdigest()
_CHUNK = re.compile(rb"([0-9a-fA-F]+)(?:;chunk-signature=([0-9a-f]{64}))?")


def checked(asked: Asked, signed: Signed, operation: str) -> tuple[bytes, dict[str, str]]:
    """The plain body and its trailing headers, or Refused."""
    content = asked.headers["x-amz-content-sha256"]
    body, trailers = asked.body, {}
    if content.startswith("STREAMING-"):
        body, trailers = _chunks(asked, signed, content)
    elif content != "UNSIGNED-PAYLOAD":
        if not re.fullmatch("[0-9a-f]{64}", content):
            message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-…, or a valid sha256 value."
            raise Refused(400, "InvalidArgument", message)
        if hashlib.sha256(body).hexdigest() != content:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Refused(400, "XAmzContentSHA256Mismatch", message)
    digests = _check_digests({**dict(asked.headers), **trailers}, body)
    if operation == "DeleteObjects" and not digests:
        raise invalid("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    return body, trailers


def _check_digests(headers: dict[str, str], body: bytes) -> int:
    """Compares each digest of the headers with the body. Returns their number."""
    count = 0
    for name, value in headers.items():
        algorithm = name.lower().removeprefix("x-amz-checksum-")
        if name.lower() == "content-md5":
            _compare("Content-MD5", value, hashlib.md5(body).digest(), Refused(400, "InvalidDigest", _INVALID_MD5))
        elif algorithm == name.lower() or algorithm in ("algorithm", "mode", "type"):
            continue
        elif algorithm in _ALGORITHMS:
            error = invalid(f"Value for {name.lower()} header is invalid.")
            _compare(algorithm.upper(), value, _ALGORITHMS[algorithm](body), error)
        else:
            raise unsupported(f"{name.lower()}; use one of {', '.join(_ALGORITHMS)}")
        count += 1
    return count


_INVALID_MD5 = "The Content-MD5 you specified is not valid."


def _compare(name: str, given: str, computed: bytes, error: Refused) -> None:
    try:
        digest = base64.b64decode(given, validate=True)
    except binascii.Error:
        raise error from None
    if len(digest) != len(computed):
        raise error
    if digest != computed:
        raise Refused(400, "BadDigest", f"The {name} you specified did not match the calculated checksum.")


def _chunks(asked: Asked, signed: Signed, content: str) -> tuple[bytes, dict[str, str]]:
    """Decodes aws-chunked, and checks each chunk's signature if the chunks are signed."""
    is_signed = content.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    if not is_signed and content != "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        raise unsupported(content)
    data, pieces, position, size = memoryview(asked.body), [], 0, -1
    while size != 0:
        line, position = _line(asked.body, position)
        chunk = _CHUNK.fullmatch(line)
        if chunk is None or (chunk[2] is not None) != is_signed:
            raise _incomplete()
        size = int(chunk[1], 16)
        piece = data[position : position + size]
        if is_signed:
            payload = f"{_EMPTY}\n{hashlib.sha256(piece).hexdigest()}"
            if signed.next("AWS4-HMAC-SHA256-PAYLOAD", payload).encode() != chunk[2]:
                raise mismatch()
        pieces.append(piece)
        position += size
        if size:
            empty, position = _line(asked.body, position)
            if len(piece) != size or empty:
                raise _incomplete()
    body = b"".join(pieces)
    if str(len(body)) != asked.headers.get("x-amz-decoded-content-length"):
        raise _incomplete()
    return body, _trailers(asked, signed, content, position)


def _trailers(asked: Asked, signed: Signed, content: str, position: int) -> dict[str, str]:
    trailers: dict[str, str] = {}
    line, position = _line(asked.body, position)
    while line:
        name, _, value = line.decode().partition(":")
        trailers[name.strip().lower()] = value.strip()
        line, position = _line(asked.body, position)
    signature = trailers.pop("x-amz-trailer-signature", None)
    if content == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
        text = "".join(f"{name}:{trailers[name]}\n" for name in sorted(trailers))
        if signed.next("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(text.encode()).hexdigest()) != signature:
            raise mismatch()
    announced = {name.strip().lower() for name in asked.headers.get("x-amz-trailer", "").split(",") if name.strip()}
    if set(trailers) != announced:
        message = "The request contained trailing data that was not well-formed or did not conform to our schema."
        raise Refused(400, "MalformedTrailerError", message)
    return trailers


def _line(body: bytes, position: int) -> tuple[bytes, int]:
    """The line at a position, and the position after it."""
    end = body.find(b"\r\n", position, position + 4096)
    if end < 0:
        raise _incomplete()
    return body[position:end], end + 2


def _incomplete() -> Refused:
    message = "The request body terminated unexpectedly"
    return Refused(400, "IncompleteBody", message)
