"""Instance refreshes with failures and changes meanwhile. Pages are named in patches/auto_scaling/refresh.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling, pinned
from cases.scene import refused


def an_instance_that_never_gets_into_service_fails_it_within_an_hour(server: Any) -> Iterator[None]:
    """ "How an instance refresh works", One-hour timeout: launches are retried, old instances stay."""
    s = pinned(server)
    yield
    old = s.settled()
    s.hook("LAUNCHING", HeartbeatTimeout=600)
    s.refresh()
    launched: set[str] = set()

    def two_more() -> bool:
        waiting = set(s.members("Pending:Wait")) - launched
        launched.update(waiting if len(waiting) == 2 else ())
        return len(waiting) == 2

    for _ in range(7):
        s.until(two_more)
        assert s.refreshed()["Status"] == "InProgress"
        s.skip(601)
    failed = s.refreshed("Failed")
    assert (failed["PercentageComplete"], failed["InstancesToUpdate"]) == (0, 2)
    assert s.settled() == old
    assert s.described()["LaunchTemplate"]["Version"] == "1"
    assert "was abandoned: Heartbeat Timeout" in s.activities()[-3]["StatusMessage"]


def a_launch_that_fails_fails_it_within_an_hour(server: Any) -> Iterator[None]:
    """StartInstanceRefresh: it "might fail for several reasons, such as EC2 launch failures"."""
    s = Scaling(server)
    profile = s.profile_of_its_own()
    s.next_version(IamInstanceProfile={"Name": profile})
    s.make(LaunchTemplate=s.pinned())
    yield
    old = s.settled()
    s.refresh()
    s.iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=profile)
    s.until(lambda: any(a["StatusCode"] == "Failed" for a in s.activities()))
    assert s.refreshed()["Status"] == "InProgress"
    s.skip(3601)
    s.refreshed("Failed")
    assert s.settled() == old


def a_slow_hook_is_not_a_failure(server: Any) -> Iterator[None]:
    """Only failed replacements count for the hour, not an instance that waits at a hook."""
    s = pinned(server)
    yield
    s.settled()
    s.hook("LAUNCHING", HeartbeatTimeout=7200)
    s.refresh()
    waiting = s.until(lambda: w if len(w := s.members("Pending:Wait")) == 2 else None)
    s.skip(7000)
    for _ in range(5):
        assert s.refreshed()["Status"] == "InProgress"
    for instance in waiting:
        s.complete(instance)
    s.refreshed("Successful")


def the_hour_restarts_with_each_updated_instance(server: Any) -> Iterator[None]:
    """The hour is one without progress; its restart isn't documented."""
    s = pinned(server)
    yield
    s.settled()
    s.hook("LAUNCHING", HeartbeatTimeout=7200)
    s.refresh(highest=100)
    first = s.until(lambda: s.members("Pending:Wait"))[0]
    s.complete(first, "ABANDON")
    second = s.until(lambda: [i for i in s.members("Pending:Wait") if i != first])[0]
    s.complete(second)
    third = s.until(lambda: s.members("Pending:Wait") if second in s.members("InService") else None)[0]
    s.skip(3601)
    for _ in range(5):
        assert s.refreshed()["Status"] == "InProgress"
    s.complete(third, "ABANDON")
    s.until(lambda: [i for i in s.members("Pending:Wait") if i != third])
    s.skip(3601)
    s.refreshed("Failed")
    assert second in s.settled()


def it_ends_after_14_days(server: Any) -> Iterator[None]:
    """ "How an instance refresh works", Total duration."""
    s = pinned(server)
    yield
    s.settled()
    s.hook("TERMINATING", HeartbeatTimeout=7200)
    s.refresh()
    s.until(lambda: len(s.members("Terminating:Wait")) == 2)
    s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["InstanceRefresh"])
    s.skip(14 * 86400)
    s.refreshed("Failed")


def a_new_instance_that_fails_is_replaced(server: Any) -> Iterator[None]:
    """ "How an instance refresh works": it replaces unhealthy instances, also old ones with new ones."""
    s = pinned(server)
    yield
    old = s.settled()
    s.skip(600)
    s.refresh(InstanceWarmup=600)
    first, second = s.until(lambda: new if len(new := s.in_service("2")) == 2 else None)
    s.ec2.terminate_instances(InstanceIds=[first, old[0]])
    s.until(lambda: not {first, old[0]} & set(s.members()) and len(s.in_service("2")) == 2)
    assert old[1] in s.members("InService") and second in s.members("InService")
    s.skip(600)
    s.refreshed("Successful")
    assert set(s.versions().values()) == {"2"}
    s.settled(without=(*old, first))


def a_suspended_process_pauses_it(server: Any) -> Iterator[None]:
    """ "Suspend and resume a process": InstanceRefresh pauses it; without Launch or Terminate it replaces nothing."""
    s = pinned(server)
    yield
    old = s.settled()
    for process in ("InstanceRefresh", "Launch", "Terminate"):
        s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=[process])
        s.refresh()
        s.refreshed("InProgress")
        s.skip(3700)
        for _ in range(5):
            assert s.members() == old
        assert s.refreshed()["Status"] == "InProgress"
        s.refresh_is_over()
        s.scaling.resume_processes(AutoScalingGroupName=s.name)
    s.refresh()
    s.refreshed("Successful")


def the_desired_configuration_cannot_be_updated_meanwhile(server: Any) -> Iterator[None]:
    """ "How an instance refresh works", Update restriction; a scale-out launches the desired configuration."""
    s = pinned(server, MaxSize=4)
    yield
    s.settled()
    s.hook("LAUNCHING")
    s.refresh()
    s.until(lambda: len(s.members("Pending:Wait")) == 2)
    update = s.scaling.update_auto_scaling_group
    with refused("ValidationError", says="An active instance refresh with a desired configuration exists."):
        update(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("2"))
    update(AutoScalingGroupName=s.name, DesiredCapacity=3)
    waiting = s.until(lambda: w if len(w := s.members("Pending:Wait")) == 3 else None)
    assert {s.versions()[i] for i in waiting} == {"2"}
    for instance in waiting:
        s.complete(instance)
    s.refreshed("Successful")
    assert len(s.settled(3)) == 3 and set(s.versions().values()) == {"2"}
    update(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("1"))


def a_template_may_be_updated_if_the_refresh_names_none(server: Any) -> Iterator[None]:
    """ "Update restriction": "while an instance refresh with a desired configuration is active"."""
    s = pinned(server)
    yield
    s.settled()
    s.hook("LAUNCHING")
    s.refresh(version=None)
    s.until(lambda: len(s.members("Pending:Wait")) == 2)
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("2"))
    for instance in s.members("Pending:Wait"):
        s.complete(instance)
    s.refreshed("Successful")
    assert set(s.versions().values()) == {"1"}
    assert s.described()["LaunchTemplate"]["Version"] == "2"


def a_group_that_shrinks_meanwhile_has_its_new_size(server: Any) -> Iterator[None]:
    """ "Scale your Auto Scaling group": sizes change in parallel; the bounds follow the desired capacity. The refresh's
    instances aren't surplus, although they are the newest."""
    s = pinned(server, MinSize=1, TerminationPolicies=["NewestInstance"])
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=2)
    s.settled()
    s.hook("LAUNCHING")
    s.refresh()
    first, _ = s.until(lambda: w if len(w := s.members("Pending:Wait")) == 2 else None)
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    s.complete(first)
    s.refreshed("Successful")
    assert s.settled(1) == [first]


def a_cancelled_refresh_waits_for_begun_replacements(server: Any) -> Iterator[None]:
    """CancelInstanceRefresh, WaitForTransitioningInstances; nothing is rolled back, and the group's template stays."""
    s = pinned(server)
    yield
    old = s.settled()
    s.hook("LAUNCHING")
    refresh = s.refresh()
    waiting = s.until(lambda: w if len(w := s.members("Pending:Wait")) == 2 else None)
    cancel = s.scaling.cancel_instance_refresh
    assert cancel(AutoScalingGroupName=s.name)["InstanceRefreshId"] == refresh
    for _ in range(5):
        assert s.refreshed()["Status"] == "Cancelling"
    with refused("InstanceRefreshInProgress"):
        s.refresh()
    with refused("ActiveInstanceRefreshNotFound"):
        cancel(AutoScalingGroupName=s.name)
    for instance in waiting:
        s.complete(instance)
    assert s.refreshed("Cancelled")["StatusReason"] == "Cancelled due to user request."
    s.settled()
    assert s.described()["LaunchTemplate"]["Version"] == "1"
    s.refresh("1")
    begun = s.until(lambda: w if len(w := s.members("Pending:Wait")) == 2 else None)
    cancel(AutoScalingGroupName=s.name, WaitForTransitioningInstances=False)
    s.refreshed("Cancelled")
    s.settled(without=(*begun, *old))
