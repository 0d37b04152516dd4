"""Admits a request to moto's S3, or refuses it as AWS does.

S3 API reference, "GetObject" and "HeadObject" (a missing object is 404 with s3:ListBucket, otherwise 403) and
"CreateBucket" (BucketAlreadyExists, BucketAlreadyOwnedByYou); S3 User Guide, "Verifying bucket ownership with bucket
owner condition", "Troubleshoot access denied (403 Forbidden) errors in Amazon S3" and "General purpose bucket naming
rules".
"""

import contextvars
import io
import re
from typing import Any
from urllib.parse import quote

from moto.s3.models import s3_backends

from constants import ACCOUNT, PARTITION, REGION
from patches import authorization
from patches.checks import Check
from patches.policy import Decision, decide
from patches.s3 import operations, payload, signature
from patches.s3.errors import Refused, access_denied
from patches.s3.request import Asked, read
from patches.s3.signature import Signed

# The ARNs of the objects in this DeleteObjects call that the caller may not delete.
UNDELETABLE: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("UNDELETABLE", default=frozenset())

# The key of an admitted request's environment.
ADMITTED = "elbow.s3.admitted"

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def admit(environ: dict[str, Any]) -> dict[str, Any]:
    """The request for moto, in path style; raises Refused."""
    UNDELETABLE.set(frozenset())
    asked = read(environ)
    if "Authorization" not in asked.headers:
        _must_exist(asked.bucket)
        raise access_denied()
    signed = signature.authenticate(asked)
    operation, action = operations.of(asked)
    if operation == "CreateBucket":
        if not _NAME.fullmatch(asked.bucket):
            raise Refused(400, "InvalidBucketName", "The specified bucket is not valid.")
    elif operation != "ListBuckets":
        _must_exist(asked.bucket)
        _must_be_owned(asked)
    _authorize(asked, signed, operation, action)
    body, trailers = payload.checked(asked, signed, operation)
    return _for_moto(environ, asked, body, trailers)


def _owner(bucket: str) -> str | None:
    return s3_backends.bucket_accounts.get(bucket, (None, None))[1]


def _must_exist(bucket: str) -> None:
    if bucket and _owner(bucket) is None:
        raise Refused(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=bucket)


def _must_be_owned(asked: Asked) -> None:
    """The bucket must be the expected owner's. Only the owner may use it, because the lab has no bucket policies."""
    expected = asked.headers.get("x-amz-expected-bucket-owner")
    if expected is not None and not re.fullmatch(r"\d{12}", expected):
        message = "The value of the expected bucket owner parameter must be an AWS account ID"
        raise Refused(400, "InvalidBucketOwnerAWSAccountID", message)
    owner = _owner(asked.bucket)
    if owner != ACCOUNT or expected not in (None, owner):
        raise access_denied()


def _authorize(asked: Asked, signed: Signed, operation: str, action: str) -> None:
    checks = operations.checks(asked, operation, action)
    if operation == "DeleteObjects":
        UNDELETABLE.set(frozenset(c.resource for c in checks if _decide(signed, c) is not Decision.ALLOW))
        return
    for check in checks:
        _require(signed, check)
    if operation in ("GetObject", "HeadObject") and not _object_exists(asked):
        _require(signed, Check("s3:ListBucket", operations.arn(asked.bucket), checks[0].context))


def _object_exists(asked: Asked) -> bool:
    return s3_backends[ACCOUNT][PARTITION].get_object(asked.bucket, asked.key) is not None


def _decide(signed: Signed, check: Check) -> Decision:
    documents = authorization.documents_of(signed.key.collect_policies())
    context = {**authorization.caller(signed.key, REGION), **check.context}
    return decide(documents, check.action, check.resource, context)


def _require(signed: Signed, check: Check) -> None:
    decision = _decide(signed, check)
    if decision is not Decision.ALLOW:
        where = "" if check.resource == "*" else f' on resource: "{check.resource}"'
        raise access_denied(authorization.denial(signed.key.arn, check.action, where, decision))


def _for_moto(environ: dict[str, Any], asked: Asked, body: bytes, trailers: dict[str, str]) -> dict[str, Any]:
    """The admitted request in path style, with its plain body and with trailing headers as headers."""
    path = f"/{asked.bucket}/{asked.key}" if asked.bucket else "/"
    given = {
        **environ,
        ADMITTED: True,
        "HTTP_HOST": "localhost",
        # WSGI's strings hold bytes as Latin-1.
        "PATH_INFO": path.encode().decode("latin-1"),
        "RAW_URI": quote(path),
        "HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in trailers.items()},
    }
    encodings = [e.strip() for e in environ.get("HTTP_CONTENT_ENCODING", "").split(",")]
    given["HTTP_CONTENT_ENCODING"] = ",".join(e for e in encodings if e and e != "aws-chunked")
    if not given["HTTP_CONTENT_ENCODING"]:
        del given["HTTP_CONTENT_ENCODING"]
    return given
