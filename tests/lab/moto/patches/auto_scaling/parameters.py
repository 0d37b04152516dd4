"""Parameters of calls. The lab refuses unsupported ones, so that it never ignores one silently."""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse

from patches.auto_scaling.model import refused


def only(self: AutoScalingResponse, known: set[str]) -> dict[str, Any]:
    """The call's parameters. An unsupported one is an error."""
    return only_of(dict(self.params), known)


def only_of(given: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The same for a structure in the call."""
    for name in given.keys() - known:
        raise refused(f"The lab's Auto Scaling doesn't support the parameter {name}", "InvalidParameterCombination")
    return given


def flag(value: Any) -> bool:
    """A boolean parameter, parsed or as text."""
    return value if isinstance(value, bool) else str(value).lower() == "true"
