"""Lifecycle hooks, and the actions that wait at them.

Auto Scaling API reference, "PutLifecycleHook" (30 to 7200 seconds; by default 3600 and ABANDON),
"CompleteLifecycleAction", "RecordLifecycleActionHeartbeat", "DescribeLifecycleHooks", "DeleteLifecycleHook" ("if there
are any outstanding lifecycle actions, they are completed first": ABANDON for launching, CONTINUE for terminating
instances).
"""

import re
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from patches.auto_scaling import lifecycle
from patches.auto_scaling.model import LAUNCHING, TERMINATING, Group, Hook, Member, Pause, now, refused, seen, store
from patches.auto_scaling.parameters import only

_NAME = re.compile(r"[A-Za-z0-9\-_/]{1,255}")
_RESULTS = ("CONTINUE", "ABANDON")
_ACTION = {"AutoScalingGroupName", "LifecycleHookName", "LifecycleActionToken", "InstanceId"}
_FIELDS = {"LifecycleHookName", "LifecycleTransition", "HeartbeatTimeout", "DefaultResult", "NotificationMetadata"}


def read(given: dict[str, Any], before: Hook | None = None) -> Hook:
    """A hook from a call's parameters; missing ones keep their values."""
    for unknown in given.keys() - _FIELDS - {"AutoScalingGroupName"}:
        raise refused(f"The lab's Auto Scaling sends no notifications and doesn't support {unknown}")
    name = given.get("LifecycleHookName") or ""
    if not _NAME.fullmatch(name):
        raise refused(f"Value '{name}' at 'lifecycleHookName' failed to satisfy constraint: [A-Za-z0-9\\-_\\/]+")
    known = before or Hook(name, "")
    transition = given.get("LifecycleTransition") or known.transition
    if transition not in (LAUNCHING, TERMINATING):
        raise refused(f"Lifecycle transition must be one of: [{LAUNCHING}, {TERMINATING}]")
    timeout = int(given.get("HeartbeatTimeout") or known.timeout)
    if not 30 <= timeout <= 7200:
        raise refused(f"HeartbeatTimeout must be between 30 and 7200 seconds, not {timeout}")
    result = given.get("DefaultResult") or known.default
    _check_result(result, "Default result")
    return Hook(name, transition, timeout, result, given.get("NotificationMetadata") or known.metadata)


def _check_result(result: Any, what: str) -> None:
    if result not in _RESULTS:
        raise refused(f"{what} must be one of: [{', '.join(_RESULTS)}]")


def put_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
    """The action. Waiting lifecycle actions aren't changed."""
    given = dict(self.params)
    group = store().group(given.get("AutoScalingGroupName"))
    hook = read(given, group.hooks.get(given.get("LifecycleHookName") or ""))
    group.hooks[hook.name] = hook
    return EmptyResult()


def describe_lifecycle_hooks(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    name, wanted = self._get_param("AutoScalingGroupName"), self._get_param("LifecycleHookNames") or []
    group = seen().group(name)
    for unknown in [hook for hook in wanted if hook not in group.hooks]:
        raise refused(f"No Lifecycle Hook found with name {unknown} for group {name}")
    described = [
        {
            "LifecycleHookName": hook.name,
            "AutoScalingGroupName": group.name,
            "LifecycleTransition": hook.transition,
            "NotificationMetadata": hook.metadata,
            "HeartbeatTimeout": hook.timeout,
            "GlobalTimeout": hook.longest,
            "DefaultResult": hook.default,
        }
        for hook in group.hooks.values()
        if not wanted or hook.name in wanted
    ]
    return ActionResult({"LifecycleHooks": described})


def _hook(self: AutoScalingResponse) -> tuple[Group, str]:
    group, name = store().group(self._get_param("AutoScalingGroupName")), self._get_param("LifecycleHookName")
    if name not in group.hooks:
        raise refused(f"No Lifecycle Hook found with name {name} for group {group.name}")
    return group, name


def delete_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    group, name = _hook(self)
    hook = group.hooks.pop(name)
    for member in list(group.members):
        for pause in [pause for pause in member.pauses if pause.hook == name]:
            lifecycle.complete(group, member, pause, "ABANDON" if hook.transition == LAUNCHING else "CONTINUE")
    return EmptyResult()


def _waiting(self: AutoScalingResponse, group: Group, hook: str) -> tuple[Member, Pause]:
    """The lifecycle action that a call names, by its token or its instance."""
    token, instance = self._get_param("LifecycleActionToken"), self._get_param("InstanceId")
    if not token and not instance:
        raise refused("Either LifecycleActionToken or InstanceId must be specified")
    for member in group.members:
        for pause in member.pauses:
            if pause.hook == hook and (pause.token == token or (not token and member.instance == instance)):
                return member, pause
    by = f"token {token}" if token else f"instance ID {instance}"
    raise refused(f"No active Lifecycle Action found with {by}")


def complete_lifecycle_action(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    only(self, {*_ACTION, "LifecycleActionResult"})
    group, hook = _hook(self)
    result = self._get_param("LifecycleActionResult")
    _check_result(result, "Lifecycle action result")
    member, pause = _waiting(self, group, hook)
    lifecycle.complete(group, member, pause, result)
    return EmptyResult()


def record_lifecycle_action_heartbeat(self: AutoScalingResponse) -> ActionResult:
    """The action: restarts the timeout, up to the global timeout."""
    only(self, _ACTION)
    group, hook = _hook(self)
    _, pause = _waiting(self, group, hook)
    pause.until = min(now() + pause.timeout, pause.at_most)
    return EmptyResult()
