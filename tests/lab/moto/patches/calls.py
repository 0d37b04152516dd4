"""Behaviour of all EC2 calls: DryRun, status codes, and EC2's error format.

EC2 API reference, "Common query parameters" (DryRun) and "Error codes for the Amazon EC2 API". For every action, a dry
run checks permissions and then answers DryRunOperation. Unknown actions get an EC2 error, not a page of HTML.
"""

import traceback
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores, get_service_model
from moto.ec2.exceptions import DryRunClientError, EC2ClientError
from moto.ec2.responses import EC2Response
from werkzeug.exceptions import HTTPException

# AWS's status codes; moto answers 400.
_STATUS = {"DryRunOperation": 412, "UnauthorizedOperation": 403, "InternalError": 500}

# These check their arguments before DryRun, as on AWS.
_CHECK_FIRST = {"run_instances"}


def install() -> None:
    """Wraps every action of EC2."""
    for operation in get_service_model("ec2").operation_names:
        name = camelcase_to_underscores(operation)
        if hasattr(EC2Response, name):
            setattr(EC2Response, name, _guarded(name))
    _statuses()


def _guarded(name: str) -> Any:
    def guarded(self: EC2Response) -> Any:
        if name not in _CHECK_FIRST and self._get_param("DryRun", False):
            raise DryRunClientError()
        # super(), because the areas' patches are in the parent classes.
        action = getattr(super(EC2Response, self), name)
        try:
            return action()
        except (ServiceException, HTTPException):
            raise
        except NotImplementedError as error:
            raise EC2ClientError("InvalidAction", f"The lab's EC2 doesn't support this: {error}") from error
        except Exception as error:
            # A bug in moto or a patch: traced in the log, and an internal error for the caller.
            traceback.print_exc()
            raise EC2ClientError("InternalError", f"An internal error has occurred: {error!r}") from error

    guarded.__name__ = name
    return guarded


def _statuses() -> None:
    inner = BaseResponse.serialized

    def serialized(self: BaseResponse, result: ActionResult) -> Any:
        status, headers, body = inner(self, result)
        if isinstance(result.result, EC2ClientError):
            status = _STATUS.get(result.result.code, status)
        return status, headers, body

    BaseResponse.serialized = serialized
