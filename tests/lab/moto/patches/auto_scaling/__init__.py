"""Auto Scaling as AWS has it: the lab's own, in place of moto's, which launches all in one subnet while the call lasts,
pauses at no hook and replaces nothing by itself.

`model.py` says what there is, `reconcile.py` what happens between calls, `lifecycle.py` an instance's way through a
group, `maintenance.py` and `refresh.py` how a group replaces its instances, `spread.py` (pure) where instances go. The
rest are the API's actions by what they are about. An action or parameter that isn't here is refused: the lab never
pretends.
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
    """Replaces every action of Auto Scaling: by ours, or by a refusal."""
    for operation in get_service_model("autoscaling").operation_names:
        name = camelcase_to_underscores(operation)
        ours = next((getattr(area, name) for area in _AREAS if hasattr(area, name)), None)
        setattr(AutoScalingResponse, name, _guarded(name, ours) if ours else _unknown(name, operation))
    checks.OF_SERVICE["autoscaling"] = permissions.of


def _unknown(name: str, operation: str) -> Any:
    def unknown(self: AutoScalingResponse) -> Any:
        raise refused(f"The lab's Auto Scaling can't do this: {operation}", "InvalidAction")

    unknown.__name__ = name
    return unknown


def _guarded(name: str, action: Any) -> Any:
    def guarded(self: AutoScalingResponse) -> Any:
        try:
            return action(self)
        except (ServiceException, HTTPException):
            raise
        except Exception as error:
            # Our mistake: told in full in the log, and to the caller as AWS tells of its own.
            traceback.print_exc()
            raise refused(f"An internal error has occurred: {error!r}", "InternalFailure") from error

    guarded.__name__ = name
    return guarded
