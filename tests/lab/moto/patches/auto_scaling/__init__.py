"""The lab's own Auto Scaling. moto's launches all instances in one subnet during the call, has no hooks and replaces
nothing.

`model.py` has the state, `reconcile.py` the work between calls, `lifecycle.py` an instance's states, `maintenance.py`
and `refresh.py` the replacement of instances, `zone_balance.py` (pure) the choice of zones. The other files have the API's
actions. The lab refuses other actions and parameters, so that it never ignores one silently.
"""

import traceback
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.utils import camelcase_to_underscores, get_service_model
from werkzeug.exceptions import HTTPException

from patches import checks
from patches.auto_scaling import describe, group_tags, groups, hooks, members, permissions, refresh_actions
from patches.auto_scaling.model import refused

_AREAS = (groups, members, hooks, group_tags, describe, refresh_actions)


def install() -> None:
    """Replaces every action of Auto Scaling, with the lab's or with a refusal."""
    for operation in get_service_model("autoscaling").operation_names:
        name = camelcase_to_underscores(operation)
        ours = next((getattr(area, name) for area in _AREAS if hasattr(area, name)), None)
        setattr(AutoScalingResponse, name, _guarded(name, ours) if ours else _unknown(name, operation))
    checks.OF_SERVICE["autoscaling"] = permissions.of


def _unknown(name: str, operation: str) -> Any:
    def unknown(self: AutoScalingResponse) -> Any:
        raise refused(f"The lab's Auto Scaling doesn't support this: {operation}", "InvalidAction")

    unknown.__name__ = name
    return unknown


def _guarded(name: str, action: Any) -> Any:
    def guarded(self: AutoScalingResponse) -> Any:
        try:
            return action(self)
        except (ServiceException, HTTPException):
            raise
        except Exception as error:
            # A bug: traced in the log, and an internal error for the caller.
            traceback.print_exc()
            raise refused(f"An internal error has occurred: {error!r}", "InternalFailure") from error

    guarded.__name__ = name
    return guarded
