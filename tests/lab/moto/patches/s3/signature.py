"""Authenticates a request: its credentials, its date, and its signature in the Authorization header.

S3 API reference, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" (all `x-amz-*`
headers must be signed; `x-amz-content-sha256` is required) and "Error responses" (AuthorizationHeaderMalformed,
ExpiredToken, InvalidAccessKeyId, InvalidToken, RequestTimeTooSkewed, SignatureDoesNotMatch); "Signature calculations
for the Authorization header: Transferring payload in multiple chunks" and "... including trailing headers".
"""

import datetime
import hashlib
import hmac
import re
from typing import Any, NoReturn

from moto.core.utils import utcnow
from moto.iam.access_control import S3IAMRequest

from constants import ACCOUNT, REGION
from patches import authorization
from patches.s3.errors import Refused, access_denied, invalid
from patches.s3.request import Asked

# "Request timestamp": at most 15 minutes from the server's time.
_SKEW = datetime.timedelta(minutes=15)
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 *Credential=(?P<key>[^/,]+)/(?P<date>\d{8})/(?P<region>[^/]+)/s3/aws4_request, *"
    r"SignedHeaders=(?P<signed>[^,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


class Signed:
    """An authenticated request."""

    def __init__(self, key: Any, timestamp: str, signature: str) -> None:
        # moto's access key: the user or role, with its policies.
        self.key = key
        self._timestamp = timestamp
        # The last signature of the chain: the request's, then each chunk's.
        self._last = signature

    def next(self, algorithm: str, payload: str) -> str:
        """The signature of the next chunk or of the trailer."""
        date = self._timestamp[:8]
        scope = f"{date}/{REGION}/s3/aws4_request"
        text = "\n".join([algorithm, self._timestamp, scope, self._last, payload])
        digest = f"AWS4{self.key._secret_access_key}".encode()
        for part in (date, REGION, "s3", "aws4_request", text):
            digest = hmac.new(digest, part.encode(), hashlib.sha256).digest()
        self._last = digest.hex()
        return self._last


class _Request(S3IAMRequest):
    """moto's check of a signature, with S3's errors."""

    def _raise_signature_does_not_match(self) -> NoReturn:
        raise mismatch()

    def _raise_invalid_access_key(self, reason: str) -> NoReturn:
        if reason == "InvalidToken":
            raise Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        message = "The AWS Access Key Id you provided does not exist in our records."
        raise Refused(403, "InvalidAccessKeyId", message)


def mismatch() -> Refused:
    """A wrong signature of a request or of a chunk."""
    message = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    )
    return Refused(403, "SignatureDoesNotMatch", message)


def authenticate(asked: Asked) -> Signed:
    """Returns the caller, or raises Refused."""
    header = _HEADER.fullmatch(asked.headers["Authorization"])
    if header is None:
        raise _malformed("The authorization header that you provided is not valid.")
    if header["region"] != REGION:
        raise _malformed(
            f"The authorization header is malformed; the region '{header['region']}' is wrong; expecting '{REGION}'"
        )
    timestamp = asked.headers.get("x-amz-date", "")
    _check_date(timestamp, header["date"])
    if "x-amz-content-sha256" not in asked.headers:
        raise invalid("Missing required header for this request: x-amz-content-sha256")
    _check_signed_headers(asked, header["signed"].split(";"))
    request = _Request(
        account_id=ACCOUNT,
        method=asked.method,
        path=asked.target,
        data={},
        body=b"",
        headers=asked.headers,
        action="",
    )
    if authorization.is_expired(request._access_key):
        raise Refused(400, "ExpiredToken", "The provided token has expired.")
    request.check_signature()
    return Signed(request._access_key, timestamp, header["signature"])


def _malformed(message: str) -> Refused:
    return Refused(400, "AuthorizationHeaderMalformed", message)


def _check_date(timestamp: str, scope: str) -> None:
    try:
        signed = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ")
    except ValueError:
        raise access_denied("AWS authentication requires a valid Date or x-amz-date header") from None
    if not timestamp.startswith(scope):
        raise _malformed(f"The authorization header is malformed; Invalid credential date {scope!r}")
    if abs(utcnow() - signed) > _SKEW:
        message = "The difference between the request time and the current time is too large."
        raise Refused(403, "RequestTimeTooSkewed", message)


def _check_signed_headers(asked: Asked, signed: list[str]) -> None:
    sent = [name.lower() for name in asked.headers.keys()]  # noqa: SIM118
    unsigned = [name for name in sent if (name.startswith("x-amz-") or name == "host") and name not in signed]
    if unsigned:
        message = "There were headers present in the request which were not signed"
        raise Refused(403, "AccessDenied", message, HeadersNotSigned=", ".join(sorted(unsigned)))
