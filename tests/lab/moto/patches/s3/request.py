"""Reads a request to S3: bucket and key, in virtual-hosted or path style, and its parameters.

S3 User Guide, "Virtual hosting of general purpose buckets" (`bucket.s3.region.amazonaws.com/key` and
`s3.region.amazonaws.com/bucket/key`). Any other host, such as the lab's address on loopback, is path style.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import EnvironHeaders

from constants import REGION

_HOST = re.compile(rf"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3\.{REGION}\.amazonaws\.com(?::443)?")
_SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/s3/")


@dataclass
class Asked:
    """A request to S3."""

    method: str
    # Empty for a request about all buckets.
    bucket: str
    # Empty for a request about a bucket.
    key: str
    query: dict[str, str]
    headers: Any
    # The path and query as the client sent and signed them.
    target: str
    body: bytes


def is_s3(environ: dict[str, Any]) -> bool:
    """Whether a request is for S3: by its host, its signature, or because it has neither a signature nor an action."""
    if _HOST.fullmatch(environ.get("HTTP_HOST", "")):
        return True
    if authorization := environ.get("HTTP_AUTHORIZATION"):
        return _SCOPE.search(authorization) is not None
    return environ["REQUEST_METHOD"] != "POST" and "Action=" not in environ.get("QUERY_STRING", "")


def read(environ: dict[str, Any]) -> Asked:
    """Reads the request and its body."""
    # PATH_INFO is decoded; this isn't.
    target = environ["REQUEST_URI"]
    path, _, query = target.partition("?")
    path = unquote(path).lstrip("/")
    host = _HOST.fullmatch(environ.get("HTTP_HOST", ""))
    if host and host["bucket"]:
        bucket, key = host["bucket"], path
    else:
        bucket, _, key = path.partition("/")
    return Asked(
        environ["REQUEST_METHOD"],
        bucket,
        key,
        dict(parse_qsl(query, keep_blank_values=True)),
        EnvironHeaders(environ),
        target,
        environ["wsgi.input"].read(),
    )
