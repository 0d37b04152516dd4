"""Refusals of the calls on instance refreshes. Pages are named in patches/auto_scaling/refresh_actions.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling, pinned
from cases.scene import refused


def a_group_has_one_refresh_at_a_time(server: Any) -> Iterator[None]:
    """InstanceRefreshInProgress."""
    s = pinned(server)
    yield
    s.settled()
    s.refresh()
    with refused("InstanceRefreshInProgress", says="already in progress and blocks the execution of this"):
        s.refresh()
    s.refreshed("Successful")
    s.refresh()


def a_finished_refresh_cannot_be_cancelled(server: Any) -> Iterator[None]:
    """ActiveInstanceRefreshNotFound."""
    s = pinned(server)
    yield
    s.settled()
    cancel = s.scaling.cancel_instance_refresh
    with refused("ActiveInstanceRefreshNotFound", says="No in progress or pending Instance Refresh"):
        cancel(AutoScalingGroupName=s.name)
    s.refresh()
    s.refreshed("Successful")
    with refused("ActiveInstanceRefreshNotFound"):
        cancel(AutoScalingGroupName=s.name)


def an_unknown_group_is_refused(server: Any) -> Iterator[None]:
    """All calls: ValidationError."""
    s = Scaling(server)
    yield
    for action in ("start_instance_refresh", "cancel_instance_refresh", "rollback_instance_refresh"):
        with refused("ValidationError", says=f"AutoScalingGroup '{s.name}' not found"):
            getattr(s.scaling, action)(AutoScalingGroupName=s.name)
    with refused("ValidationError", says="not found"):
        s.scaling.describe_instance_refreshes(AutoScalingGroupName=s.name)


def preferences_have_bounds(server: Any) -> Iterator[None]:
    """RefreshPreferences."""
    s = pinned(server)
    yield
    s.settled()
    for given, says in (
        ({"lowest": 101}, "between 0 and 100"),
        ({"highest": 99}, "between 100 and 200"),
        ({"highest": 201}, "between 100 and 200"),
        ({"lowest": 99}, "cannot be greater than 100"),
        ({"lowest": None}, "you must also specify MinHealthyPercentage"),
        ({"InstanceWarmup": -1}, "must not be negative"),
        ({"ScaleInProtectedInstances": "Terminate"}, "[Refresh, Ignore, Wait]"),
        ({"StandbyInstances": "Refresh"}, "[Terminate, Ignore, Wait]"),
    ):
        with refused("ValidationError", says=says):
            s.refresh(**given)
    assert s.scaling.describe_instance_refreshes(AutoScalingGroupName=s.name)["InstanceRefreshes"] == []


def a_desired_configuration_must_be_able_to_launch(server: Any) -> Iterator[None]:
    """DesiredConfiguration; User Guide, "Troubleshoot launch templates"."""
    s = pinned(server)
    s.next_version(IamInstanceProfile={"Name": "unknown"})
    yield
    s.settled()
    for version in ("3", "4"):
        with refused("ValidationError", says="You must use a valid fully-formed launch template."):
            s.refresh(version)


def auto_rollback_needs_a_numbered_version_of_the_group(server: Any) -> Iterator[None]:
    """ "Undo changes": needs a desired configuration, and a group with a version number."""
    s = pinned(server)
    yield
    s.settled()
    with refused("ValidationError", says="cannot be set to true when the DesiredConfiguration parameter is empty"):
        s.refresh(version=None, AutoRollback=True)
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("$Default"))
    with refused("ValidationError", says="$Default"):
        s.refresh(AutoRollback=True)


def the_lab_refuses_what_it_doesnt_support(server: Any) -> Iterator[None]:
    """The lab's own rule: it never ignores a parameter silently."""
    s = pinned(server)
    yield
    s.settled()
    for given in ({"BakeTime": 60}, {"CheckpointPercentages": [50, 100]}, {"AlarmSpecification": {"Alarms": ["it"]}}):
        with refused("InvalidParameterCombination", says=next(iter(given))):
            s.refresh(**given)
    start = s.scaling.start_instance_refresh
    with refused("InvalidParameterCombination", says="MixedInstancesPolicy"):
        mixed = {"LaunchTemplate": {"LaunchTemplateSpecification": s.pinned("2")}}
        start(AutoScalingGroupName=s.name, DesiredConfiguration={"MixedInstancesPolicy": mixed})
    with refused("ValidationError", says="ReplaceRootVolume"):
        start(AutoScalingGroupName=s.name, Strategy="ReplaceRootVolume")
