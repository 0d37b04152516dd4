"""Instance refreshes that are rolled back. Pages are named in patches/auto_scaling/refresh.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling, pinned
from cases.scene import refused


def _half_done(s: Scaling, **preferences: Any) -> tuple[str, str]:
    """A refresh that has replaced one of two instances. Returns the remaining old one and the new one."""
    s.settled()
    s.hook("LAUNCHING")
    s.refresh(highest=100, **preferences)
    first = s.until(lambda: s.members("Pending:Wait"))[0]
    s.complete(first)
    s.until(lambda: s.members("Pending:Wait") and len(s.members()) == 3)
    return s.in_service("1")[0], first


def a_rollback_replaces_the_new_instances(server: Any) -> Iterator[None]:
    """RollbackInstanceRefresh; RollbackDetails; the percentage returns to zero."""
    s = pinned(server)
    yield
    kept, replaced = _half_done(s)
    back = s.scaling.rollback_instance_refresh(AutoScalingGroupName=s.name)["InstanceRefreshId"]
    waiting = s.until(lambda: [i for i in s.members("Pending:Wait") if s.versions()[i] == "1"])
    during = s.refreshed("RollbackInProgress")
    assert (during["InstanceRefreshId"], during["PercentageComplete"], during["InstancesToUpdate"]) == (back, 50, 1)
    details = during["RollbackDetails"]
    assert (details["PercentageCompleteOnRollback"], details["InstancesToUpdateOnRollback"]) == (50, 1)
    assert details["RollbackReason"] and details["RollbackStartTime"]
    assert replaced in s.members("InService")
    s.complete(waiting[0])
    done = s.refreshed("RollbackSuccessful")
    assert (done["PercentageComplete"], done["InstancesToUpdate"]) == (0, 2)
    assert kept in s.members("InService") and set(s.versions().values()) == {"1"}
    assert s.described()["LaunchTemplate"]["Version"] == "1"


def new_instances_that_replaced_nothing_yet_are_terminated(server: Any) -> Iterator[None]:
    """ "When rolling back, Amazon EC2 Auto Scaling replaces the instances that have been deployed so far": the
    remaining ones need no replacement."""
    s = pinned(server)
    yield
    old = s.settled()
    s.hook("LAUNCHING")
    s.refresh()
    s.until(lambda: len(s.members("Pending:Wait")) == 2)
    s.scaling.rollback_instance_refresh(AutoScalingGroupName=s.name)
    s.refreshed("RollbackSuccessful")
    assert s.settled() == old


def a_failed_refresh_rolls_back_with_auto_rollback(server: Any) -> Iterator[None]:
    """RefreshPreferences, AutoRollback: after the hour of failed replacements."""
    s = pinned(server)
    yield
    kept, _ = _half_done(s, AutoRollback=True)
    s.complete(s.members("Pending:Wait")[0], "ABANDON")
    s.until(lambda: any(a["StatusCode"] == "Cancelled" for a in s.activities()))
    assert s.refreshed()["Status"] == "InProgress"
    s.skip(3500)
    s.scaling.delete_lifecycle_hook(AutoScalingGroupName=s.name, LifecycleHookName="it")
    s.hook("LAUNCHING", HeartbeatTimeout=7200)
    s.skip(101)
    assert "auto rollback" in s.refreshed("RollbackInProgress")["RollbackDetails"]["RollbackReason"]
    s.scaling.delete_lifecycle_hook(AutoScalingGroupName=s.name, LifecycleHookName="it")
    s.refreshed("RollbackSuccessful")
    assert kept in s.settled() and set(s.versions().values()) == {"1"}


def a_rollback_can_fail_and_be_cancelled(server: Any) -> Iterator[None]:
    """ "Undo changes", Considerations: from a configuration that can't launch, the rollback eventually fails.
    CancelInstanceRefresh: "an instance refresh or rollback"."""
    s = pinned(server)
    yield
    _, replaced = _half_done(s)
    s.scaling.rollback_instance_refresh(AutoScalingGroupName=s.name)
    waiting = s.until(lambda: [i for i in s.members("Pending:Wait") if s.versions()[i] == "1"])
    s.complete(waiting[0], "ABANDON")
    s.until(lambda: [i for i in s.members("Pending:Wait") if i != waiting[0]])
    s.skip(3601)
    s.refreshed("RollbackFailed")
    assert replaced in s.settled()
    s.refresh(highest=100)
    s.until(lambda: s.members("Pending:Wait"))
    s.scaling.rollback_instance_refresh(AutoScalingGroupName=s.name)
    s.scaling.cancel_instance_refresh(AutoScalingGroupName=s.name)
    s.refreshed("Cancelled")


def some_refreshes_are_irreversible(server: Any) -> Iterator[None]:
    """RollbackInstanceRefresh: not without a desired configuration, to `$Default` or `$Latest`, or to an image by a
    Systems Manager parameter."""
    s = Scaling(server)
    alias = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    s.next_version()
    s.next_version(ImageId=alias)
    s.make(LaunchTemplate=s.pinned())
    yield
    s.settled()
    s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["InstanceRefresh"])
    back = s.scaling.rollback_instance_refresh
    with refused("ActiveInstanceRefreshNotFound", says=s.name):
        back(AutoScalingGroupName=s.name)
    for own, desired, says in (
        ("1", None, "no desired configuration"),
        ("$Default", "2", "$Default"),
        ("$Latest", "2", "$Latest"),
        ("3", "2", "Systems Manager parameter"),
    ):
        s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned(own))
        s.refresh(desired)
        with refused("IrreversibleInstanceRefresh", says=says):
            back(AutoScalingGroupName=s.name)
        s.refresh_is_over()
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("1"))
    s.refresh("$Latest")
    back(AutoScalingGroupName=s.name)
    s.scaling.resume_processes(AutoScalingGroupName=s.name)
    s.refreshed("RollbackSuccessful")
    with refused("ActiveInstanceRefreshNotFound"):
        back(AutoScalingGroupName=s.name)
