"""S3's errors (S3 API reference, "Error responses")."""

import html
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any


class Refused(Exception):
    """An error answer. It is a WSGI application."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(code, message)
        self.status = status
        self.fields = {"Code": code, "Message": message, **more, "RequestId": "REFUSED000000000"}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fields = "".join(f"<{name}>{html.escape(text, quote=False)}</{name}>" for name, text in self.fields.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{fields}</Error>'.encode()
        if environ["REQUEST_METHOD"] == "HEAD":
            # S3 API reference, "HeadObject": a HEAD request has no body, so an error has no code.
            body = b""
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        headers.append(("x-amz-request-id", self.fields["RequestId"]))
        start_response(f"{self.status} {HTTPStatus(self.status).phrase}", headers)
        return [body]


def access_denied(message: str = "Access Denied") -> Refused:
    """The caller may not do this."""
    return Refused(403, "AccessDenied", message)


def invalid(message: str) -> Refused:
    """The request isn't valid."""
    return Refused(400, "InvalidRequest", message)


def unsupported(what: str) -> Refused:
    """The lab doesn't have this part of S3."""
    return Refused(501, "NotImplemented", f"The lab's S3 doesn't support this: {what}")
