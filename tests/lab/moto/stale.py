"""`lab stale MS`: Describe calls answer from the world as it was MS ago, as AWS's eventual consistency may have it.

While it is on, the part of EC2 that changes is copied after each change (so it costs nothing while it is off), and
`EC2BaseResponse.ec2_backend` hands out the copy that was current then. Only Describe calls see it: whatever changes
something, and the lab itself, deal with the present.
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
    """How old the world is that Describe calls see; 0 is the present."""
    global _delay
    _delay = milliseconds / 1000
    _history.clear()
    if _delay:
        # Far enough back that the first Describe call has a past to look at.
        _history.append((0.0, _copy()))


def past() -> Any | None:
    """EC2 as it was then; nothing if Describe calls see the present."""
    if not _delay:
        return None
    then = time.monotonic() - _delay
    while len(_history) > 1 and _history[1][0] <= then:
        _history.pop(0)
    return _history[0][1]


def _copy() -> Any:
    """A backend whose changing parts are copies that refer to each other, and to nothing that changes."""
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
    """Lets Describe calls see the past."""
    instrument.on_change(_remember)
    present = EC2BaseResponse.ec2_backend.fget

    def ec2_backend(self: EC2BaseResponse) -> Any:
        backend = past() if self._get_action().startswith("Describe") else None
        return backend or present(self)

    EC2BaseResponse.ec2_backend = property(ec2_backend)
