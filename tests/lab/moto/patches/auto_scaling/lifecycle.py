"""A member's way: Pending, InService, Terminating, gone; with hooks, a wait before it goes on.

Auto Scaling User Guide, "Amazon EC2 Auto Scaling instance lifecycle", "How lifecycle hooks work", "Considerations and
limitations for lifecycle hooks" (ABANDON while launching terminates and replaces; while terminating both results let
it go, but ABANDON stops what other hooks remain), "Retrieve the target lifecycle state through instance metadata",
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
    """An instance that was launched begins its way."""
    group.members.append(member)
    store().targets[member.instance] = "InService"


def leave(group: Group, member: Member, cause: str, says: str | None = None) -> Activity:
    """A member begins to go. One that is on its way already stays on it; one that was being launched has an activity
    that says why it isn't."""
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
    """Takes a member one step further, if it is time; answers whether it was."""
    if member.state == "InService":
        # Before EC2 is asked: this is done before every call, and most members are here.
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
    """A lifecycle action came to this result."""
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
