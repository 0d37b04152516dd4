"""Parameters of calls: one that the lab doesn't heed is refused, so that the lab never pretends."""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse

from patches.auto_scaling.model import refused


def only(self: AutoScalingResponse, known: set[str]) -> dict[str, Any]:
    """The call's parameters; refused if the lab would have to pretend that it heeds one."""
    return only_of(dict(self.params), known)


def only_of(given: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The same, of a structure in the call."""
    for name in given.keys() - known:
        raise refused(f"The lab's Auto Scaling doesn't know the parameter {name}", "InvalidParameterCombination")
    return given


def flag(value: Any) -> bool:
    """A boolean parameter, read or as it was sent."""
    return value if isinstance(value, bool) else str(value).lower() == "true"
