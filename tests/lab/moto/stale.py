"""`lab stale MS`: Describe calls answer from the state of MS milliseconds ago, like AWS's eventual consistency.

While it is on, the changing part of EC2 is copied after each change, and `EC2BaseResponse.ec2_backend` returns the copy
that was current then. Only Describe calls see it. Other calls and the lab itself use the present state.
"""

import copy
import time
from typing import Any

from moto.ec2.responses._base_response import EC2BaseResponse

import instrument

_CHANGING = (
    "reservations",
    "enis",
    "route_tables",
    "groups",
    "tags",
    "subnets",
    "launch_templates",
    "launch_template_name_to_ids",
    "iam_instance_profile_associations",
    "auto_scaling",
)

_delay = 0.0
_history: list[tuple[float, Any]] = []


def set_delay(milliseconds: int) -> None:
    """Sets the age of the state that Describe calls see; 0 is the present."""
    global _delay
    _delay = milliseconds / 1000
    _history.clear()
    if _delay:
        # The first Describe call needs a past state.
        _history.append((0.0, _copy()))


def past() -> Any | None:
    """The past backend; None if Describe calls see the present."""
    if not _delay:
        return None
    then = time.monotonic() - _delay
    while len(_history) > 1 and _history[1][0] <= then:
        _history.pop(0)
    return _history[0][1]


def _copy() -> Any:
    """A backend with copies of the changing parts, which refer only to each other and to constant parts."""
    present = instrument.ec2()
    past_backend = copy.copy(present)
    memo: dict[int, Any] = {id(present): past_backend}
    for backend_of_images in present.amis.values():
        memo[id(backend_of_images)] = backend_of_images
    for name in [name for name in _CHANGING if hasattr(present, name)]:
        setattr(past_backend, name, copy.deepcopy(getattr(present, name), memo))
    return past_backend


def _remember() -> None:
    if _delay:
        _history.append((time.monotonic(), _copy()))


def install() -> None:
    """Makes Describe calls use the past backend."""
    instrument.on_change(_remember)
    present = EC2BaseResponse.ec2_backend.fget

    def ec2_backend(self: EC2BaseResponse) -> Any:
        backend = past() if self._get_action().startswith("Describe") else None
        return backend or present(self)

    EC2BaseResponse.ec2_backend = property(ec2_backend)
