"""S3 as strict as AWS. moto stores buckets and objects; this package decides which requests reach it.

`request.py` reads a request, `signature.py` authenticates it, `operations.py` lists the supported operations with the
permissions that each needs, `payload.py` checks the body, and `admission.py` applies them in AWS's order. moto then
gets an admitted request in path style, with its plain body.

The lab's S3 has no bucket policies, ACLs, presigned URLs, versions or copies. It refuses them, so that it never ignores
one silently.
"""

import traceback
from collections.abc import Callable, Iterable
from typing import Any

from moto.iam.access_control import PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.exceptions import S3AccessDeniedError
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response

from patches import authorization
from patches.s3 import admission, request
from patches.s3.errors import Refused


def install() -> None:
    """Places the checks in front of moto's S3, in place of moto's own."""
    _admission()
    _delete_objects()
    S3Response._authenticate_and_authorize_s3_action = _must_be_admitted


def _must_be_admitted(self: S3Response, bucket_name: str | None = None, key_name: str | None = None) -> None:
    # moto takes a request without a known service for S3.
    if admission.ADMITTED not in self.request.environ:
        raise S3AccessDeniedError()


def _admission() -> None:
    inner = DomainDispatcherApplication.__call__

    def call(self: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not request.is_s3(environ):
            return inner(self, environ, start_response)
        # An object is large, and its thread would keep it until the next call.
        authorization.BODY.set(b"")
        try:
            environ = admission.admit(environ)
        except Refused as refused:
            return refused(environ, start_response)
        except Exception as error:
            # A policy that the lab can't evaluate, or a bug, must not allow the call.
            traceback.print_exc()
            return Refused(500, "InternalError", f"The lab could not admit this call: {error!r}")(
                environ, start_response
            )
        return inner(self, environ, start_response)

    DomainDispatcherApplication.__call__ = call


def _delete_objects() -> None:
    """DeleteObjects answers AccessDenied for each key that the caller may not delete, and deletes the others. moto asks
    the bucket's policy about each key."""
    inner = FakeBucket.get_permission

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if resource in admission.UNDELETABLE.get():
            return PermissionResult.DENIED
        return inner(self, action, resource)

    FakeBucket.get_permission = get_permission
