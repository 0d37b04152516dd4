"""The states of a group's instance: Pending, InService, Terminating, removed, with a wait at each hook.

Auto Scaling User Guide, "Amazon EC2 Auto Scaling instance lifecycle", "How lifecycle hooks work", "Considerations and
limitations for lifecycle hooks" (ABANDON at launch terminates and replaces; at termination both results continue it,
but ABANDON skips the remaining hooks), "Retrieve the target lifecycle state through instance metadata",
"Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures" (the activity of an abandoned launch).
"""

from typing import Any

import instrument
from patches.auto_scaling.model import LAUNCHING, TERMINATING, Activity, Group, Member, Pause, now, store

_GONE = ("shutting-down", "terminated")
_ALIVE = ("pending", "running")
_BY_CALL = "Lifecycle Action Completed with ABANDON Result"


def instance_of(member: Member) -> Any:
    """EC2's instance."""
    return instrument.ec2().get_instance_by_id(member.instance)


def join(group: Group, member: Member) -> None:
    """Adds a launched instance to its group."""
    group.members.append(member)
    store().targets[member.instance] = "InService"


def leave(group: Group, member: Member, cause: str, says: str | None = None) -> Activity:
    """Begins to terminate a member, unless that has begun. A pending one gets the reason in its launch activity."""
    if member.state.startswith("Terminating"):
        return member.activity
    if member.state.startswith("Pending"):
        member.activity.finish("Cancelled")
        if says:
            member.activity.description += f".  Status Reason: {says}"
            member.activity.says = says
    member.pauses = []
    member.activity = group.begin(f"Terminating EC2 instance: {member.instance}", cause)
    member.state = "Terminating"
    store().targets[member.instance] = "Terminated"
    _pause(group, member, TERMINATING)
    return member.activity


def advance(group: Group, member: Member) -> bool:
    """Advances a member by one step, if due. Returns whether it did."""
    if member.state == "InService":
        # Most members are in service, and this runs before every call: skip the look-up in EC2.
        return False
    instance = instance_of(member)
    match member.state:
        case "Pending" if instance is None or instance.state not in _ALIVE:
            leave(group, member, "an instance was taken out of service as it ended while it was launched.")
        case "Pending" if instance.state == "running":
            _pause(group, member, LAUNCHING)
            if not member.pauses:
                _into_service(member)
        case "Pending:Wait" | "Terminating:Wait":
            return _wait(group, member)
        case "Pending:Proceed":
            _into_service(member)
        case "Terminating" | "Terminating:Proceed":
            return _end(group, member, instance)
        case _:
            return False
    return True


def _into_service(member: Member) -> None:
    member.state, member.in_service = "InService", now()
    member.activity.finish()


def _pause(group: Group, member: Member, transition: str) -> None:
    hooks = [hook for hook in group.hooks.values() if hook.transition == transition]
    if group.deleting or not hooks:
        return
    since = now()
    member.pauses = [
        Pause(hook.name, hook.timeout, hook.default, since + hook.timeout, since + hook.longest) for hook in hooks
    ]
    launching = transition == LAUNCHING
    member.state = "Pending:Wait" if launching else "Terminating:Wait"
    member.activity.status = "MidLifecycleAction" if launching else "MidTerminatingLifecycleAction"


def _wait(group: Group, member: Member) -> bool:
    due = [pause for pause in member.pauses if pause.until <= now()]
    for pause in due:
        complete(group, member, pause, pause.default, "Heartbeat Timeout")
    return bool(due)


def complete(group: Group, member: Member, pause: Pause, result: str, how: str = _BY_CALL) -> None:
    """Completes a lifecycle action."""
    if pause not in member.pauses:
        return
    member.pauses.remove(pause)
    launching = member.state.startswith("Pending")
    if result == "ABANDON":
        member.pauses = []
        if launching:
            says = (
                "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "
                f"{pause.token} was abandoned: {how}"
            )
            cause = "an instance was taken out of service in response to a launch that was abandoned."
            leave(group, member, cause, says)
            return
    if not member.pauses:
        member.state = "Pending:Proceed" if launching else "Terminating:Proceed"
        member.activity.status = "PreInService" if launching else "InProgress"


def _end(group: Group, member: Member, instance: Any) -> bool:
    if instance is not None and instance.state not in _GONE:
        instance.terminate()
        return True
    if instance is not None and instance.state == "shutting-down":
        return False
    member.activity.finish()
    group.members.remove(member)
    return True
