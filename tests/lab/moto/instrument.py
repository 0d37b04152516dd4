"""One lock and a count of changes for moto, patched or not.

moto isn't thread-safe and waitress has many threads, so calls run one at a time. After each call that changed
something, the generation increases and the listeners are called, still under the lock.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

from moto import backends
from moto.core import responses
from moto.core.responses import BaseResponse
from moto.ec2.models import ec2_backends
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC

from constants import ACCOUNT, REGION

LOCK = threading.RLock()

_READING = ("Describe", "Get", "List", "Search", "Simulate", "Lookup")
_listeners: list[Callable[[], None]] = []
_generation = 0


def generation() -> int:
    """The number of changes; two worlds with the same number are equal."""
    return _generation


def changed() -> None:
    """Counts a change and calls the listeners."""
    global _generation
    _generation += 1
    for listener in _listeners:
        listener()


def on_change(listener: Callable[[], None]) -> None:
    """Calls `listener` after each change, under the lock."""
    _listeners.append(listener)


def is_reading(action: str) -> bool:
    """Whether an AWS action changes nothing, by its name."""
    return action.startswith(_READING)


def ec2() -> Any:
    """moto's EC2 in the lab's account and Region."""
    return ec2_backends[ACCOUNT][REGION]


def install() -> None:
    """Adds the count to moto, and lets a subnet or VPC belong to another account."""
    inner = BaseResponse.call_action

    def call_action(self: BaseResponse) -> Any:
        answer = inner(self)
        if int(answer[0]) < 300 and not is_reading(self._get_action() or "Get"):
            changed()
        return answer

    BaseResponse.call_action = call_action
    # Constants that moto computes on every call: together two fifths of the time of a ReplaceRoute.
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    for owned in (Subnet, VPC):
        owned.owner_id = property(lambda self: getattr(self, "shared_by", None) or self.ec2_backend.account_id)
