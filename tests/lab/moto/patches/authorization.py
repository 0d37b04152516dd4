"""Authenticates and authorizes every call: signatures, policies, resources, and each service's error messages.

IAM User Guide, "Troubleshoot access denied error messages"; EC2 API reference, "Error codes" (AuthFailure,
UnauthorizedOperation, RequestExpired, MissingAuthenticationToken). moto checks only actions, treats every resource as
`*`, and ignores conditions.
"""

import contextvars
import datetime
import html
import io
import json
import traceback
from typing import Any

from moto.core.responses import BaseResponse
from moto.core.utils import utcnow
from moto.iam.access_control import AssumedRoleAccessKey, IAMRequest
from moto.iam.models import ManagedPolicy
from moto.sts.models import sts_backends
from werkzeug.exceptions import HTTPException

from patches import checks
from patches.policy import Context, Decision, decide

# The form as its client signed it. moto would check a form that it encoded again, with `+` instead of `%20`.
BODY: contextvars.ContextVar[bytes] = contextvars.ContextVar("BODY", default=b"")


def keep_body(environ: dict[str, Any]) -> None:
    """Keeps this request's body for the signature check."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    BODY.set(body)


def install() -> None:
    """Replaces moto's authorization."""
    BaseResponse._authenticate_and_authorize_normal_action = _told(authorize)
    IAMRequest._raise_invalid_access_key = _invalid_key
    IAMRequest._raise_signature_does_not_match = _bad_signature


class Refused(HTTPException):
    """An error in the format of the called service."""

    def __init__(self, service: str, status: int, code: str, message: str) -> None:
        super().__init__()
        self.code = status
        text = html.escape(message, quote=False)
        if service == "ec2":
            self.description = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
                f"<Message>{text}</Message></Error></Errors><RequestID>refused</RequestID></Response>"
            )
        elif service == "ssm":
            self.code = 400
            self.description = json.dumps({"__type": f"{code}Exception", "message": message})
        else:
            self.description = (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
                "<RequestId>refused</RequestId></ErrorResponse>"
            )


def _told(inner: Any) -> Any:
    def told(self: BaseResponse, resource: str = "*") -> None:
        try:
            inner(self, resource)
        except HTTPException:
            raise
        except Exception as error:
            # A policy that the lab can't evaluate, or a bug, must not allow the call.
            traceback.print_exc()
            raise Refused(
                self.service_name or "", 500, "InternalError", f"The lab could not authorize this call: {error!r}"
            ) from error

    return told


def authorize(self: BaseResponse, resource: str = "*") -> None:
    """Refuses the call, or returns."""
    service = self.service_name or ""
    if "Authorization" not in self.headers:
        raise Refused(service, 403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    request = IAMRequest(
        account_id=self.current_account,
        method=self.method,
        path=self.raw_path + (f"?{self.parsed_url.query}" if self.parsed_url.query else ""),
        data=self.data,
        body=BODY.get() or self.raw_body,
        headers=self.headers,
        action=self._get_action(),
    )
    request.check_signature()
    key = request._access_key
    if is_expired(key):
        if service == "ec2":
            raise Refused(service, 400, "RequestExpired", "Request has expired.")
        raise Refused(service, 403, "ExpiredToken", "The security token included in the request is expired")
    documents = documents_of(key.collect_policies())
    context = caller(key, self.region)
    for check in checks.of(self):
        decision = decide(documents, check.action, check.resource, {**context, **check.context})
        if decision is not Decision.ALLOW:
            raise _denied(service, key.arn, check, decision)
        if check.action == "sts:AssumeRole" and not request._check_role_trust_relationship(check.resource):
            raise _denied(service, key.arn, check, Decision.SILENT)


def is_expired(key: Any) -> bool:
    """Whether a role's temporary credentials have expired. A user's don't."""
    if not isinstance(key, AssumedRoleAccessKey):
        return False
    sessions = sts_backends[key.account_id][key.partition].assumed_roles
    return next(s.expiration for s in sessions if s.access_key_id == key._access_key_id) <= utcnow()


def documents_of(policies: list[Any]) -> list[str]:
    """The JSON documents of an identity's policies, as moto collects them."""
    documents = []
    for policy in policies:
        if isinstance(policy, ManagedPolicy):
            documents.append(next(v.document for v in policy.versions if v.is_default))
        else:
            documents.append(policy if isinstance(policy, str) else policy["policy_document"])
    return documents


def caller(key: Any, region: str) -> Context:
    """The condition keys of every request."""
    context: Context = {
        "aws:principalarn": [key.arn],
        "aws:principalaccount": [key.account_id],
        "aws:requestedregion": [region],
        "ec2:region": [region],
        "aws:currenttime": [datetime.datetime.now(datetime.UTC).isoformat()],
    }
    # Of users only: "AWS global condition context keys", aws:username.
    if user := getattr(key, "_owner_user_name", None):
        context["aws:username"] = [user]
    session = getattr(key, "_session_name", "")
    if session.startswith("i-"):
        arn = f"arn:{key.partition}:ec2:{region}:{key.account_id}:instance/{session}"
        context["ec2:sourceinstancearn"] = context["aws:sourceinstancearn"] = [arn]
    return context


def denial(caller: str, action: str, where: str, decision: Decision) -> str:
    """The message of an access denied error; `where` names the resource as the service writes it."""
    if decision is Decision.DENY:
        why = "with an explicit deny in an identity-based policy"
    else:
        why = f"because no identity-based policy allows the {action} action"
    return f"User: {caller} is not authorized to perform: {action}{where} {why}"


def _denied(service: str, caller: str, check: checks.Check, decision: Decision) -> Refused:
    if check.says:
        return Refused(service, 403, "AccessDenied", check.says)
    where = "" if check.resource == "*" else f" on resource: {check.resource}"
    message = denial(caller, check.action, where, decision)
    if service == "ec2":
        return Refused(
            service, 403, "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}"
        )
    return Refused(service, 403, "AccessDenied", message)


def _invalid_key(self: IAMRequest, _: str) -> None:
    if self._service == "ec2":
        message = "AWS was not able to validate the provided access credentials"
        raise Refused("ec2", 401, "AuthFailure", message)
    message = "The security token included in the request is invalid."
    raise Refused(self._service, 403, "InvalidClientTokenId", message)


def _bad_signature(self: IAMRequest) -> None:
    if self._service == "ec2":
        _invalid_key(self, "")
    message = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method."
    )
    raise Refused(self._service, 403, "SignatureDoesNotMatch", message)
