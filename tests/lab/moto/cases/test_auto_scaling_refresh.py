"""Instance refreshes: the order of replacements. Pages are named in patches/auto_scaling/maintenance.py and
refresh.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling, pinned


def _watched(s: Scaling, until: Any) -> tuple[int, int]:
    """Waits for a condition. Returns the minimum of instances in service and the maximum of instances not ending."""
    serving, there = [], []

    def look() -> Any:
        states = [i["LifecycleState"] for i in s.described()["Instances"]]
        serving.append(states.count("InService"))
        there.append(len([state for state in states if not state.startswith("Terminating")]))
        return until()

    s.until(look)
    return min(serving), max(there)


def _is_successful(s: Scaling) -> bool:
    return s.refreshed()["Status"] == "Successful"


def a_pair_is_launched_whole_and_waits_at_both_hooks(server: Any) -> Iterator[None]:
    """100 % and 200 %: two new instances at once, beyond the maximum size. The old ones end when the new ones serve.
    The group gets the desired configuration when the old ones have left."""
    s = pinned(server)
    yield
    old = s.settled()
    s.hook("LAUNCHING", "hello")
    s.hook("TERMINATING", "goodbye")
    s.refresh()
    new = s.until(lambda: waiting if len(waiting := s.members("Pending:Wait")) == 2 else None)
    assert sorted(s.members("InService")) == sorted(old)
    assert s.zones() == ["eu-west-1a", "eu-west-1a", "eu-west-1b", "eu-west-1b"]
    assert s.refreshed("InProgress")["PercentageComplete"] == 0
    assert s.described()["LaunchTemplate"]["Version"] == "1"
    for instance in new:
        s.complete(instance, name="hello")
    s.until(lambda: sorted(s.members("Terminating:Wait")) == sorted(old))
    assert sorted(s.members("InService")) == sorted(new)
    assert {s.target(i) for i in old} == {"Terminated"}
    assert s.refreshed()["Status"] == "InProgress"
    for instance in old:
        s.complete(instance, name="goodbye")
    done = s.refreshed("Successful")
    assert (done["PercentageComplete"], done["InstancesToUpdate"], "EndTime" in done) == (100, 0, True)
    assert s.versions() == dict.fromkeys(new, "2")
    assert s.described()["LaunchTemplate"]["Version"] == "2"
    causes = {a["Cause"].split("Z ", 1)[1] for a in s.activities()[:4]}
    assert causes == {
        "an instance was launched in response to an instance refresh.",
        "an instance was taken out of service in response to an instance refresh.",
    }


def an_old_instance_ends_for_each_new_one_that_serves(server: Any) -> Iterator[None]:
    """The minimum healthy percentage counts instances in service: with one new one, one old one may end."""
    s = pinned(server)
    yield
    old = s.settled()
    s.hook("LAUNCHING")
    s.refresh()
    first, second = s.until(lambda: waiting if len(waiting := s.members("Pending:Wait")) == 2 else None)
    s.complete(first)
    s.until(lambda: len(s.members()) == 3)
    for _ in range(10):
        assert len(s.in_service("1")) == 1
    half = s.refreshed()
    assert (half["Status"], half["PercentageComplete"], half["InstancesToUpdate"]) == ("InProgress", 50, 1)
    s.complete(second)
    s.refreshed("Successful")
    assert not set(s.members()) & set(old)


def bounds_that_leave_no_room_replace_one_at_a_time(server: Any) -> Iterator[None]:
    """RefreshPreferences, MaxHealthyPercentage: explicitly 100 launches before it terminates, beyond the bound."""
    s = pinned(server)
    yield
    s.settled()
    s.refresh(highest=100)
    assert _watched(s, lambda: _is_successful(s)) == (2, 3)
    assert set(s.versions().values()) == {"2"}


def without_an_upper_bound_the_old_one_ends_first(server: Any) -> Iterator[None]:
    """RefreshPreferences, MaxHealthyPercentage: when omitted, an instance is terminated and its replacement launched at
    once; one at a time even where the minimum, 90 %, would forbid it."""
    s = pinned(server)
    yield
    s.settled()
    s.refresh(lowest=None, highest=None)
    assert _watched(s, lambda: _is_successful(s)) == (1, 2)
    preferences = s.refreshed()["Preferences"]
    assert (preferences["MinHealthyPercentage"], preferences.get("MaxHealthyPercentage")) == (90, None)
    assert set(s.versions().values()) == {"2"}


def bounds_may_come_from_the_groups_policy(server: Any) -> Iterator[None]:
    """ "Understand the default values for an instance refresh": the instance maintenance policy's percentages."""
    policy = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 150}
    s = pinned(server)
    yield
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, InstanceMaintenancePolicy=policy)
    s.settled()
    s.refresh(lowest=None, highest=None)
    assert _watched(s, lambda: _is_successful(s)) == (2, 3)
    assert {name: s.refreshed()["Preferences"][name] for name in policy} == policy


def a_new_instance_warms_up_before_an_old_one_ends(server: Any) -> Iterator[None]:
    """Instance warmup: from InService on; by default the group's, or else its health check grace period."""
    s = pinned(server, HealthCheckGracePeriod=60)
    yield
    old = s.settled()
    s.skip(60)
    s.refresh()
    s.until(lambda: len(s.in_service("2")) == 2)
    waiting = s.refreshed()
    assert waiting["Preferences"]["InstanceWarmup"] == 60
    assert waiting["PercentageComplete"] == 0
    assert waiting["StatusReason"].startswith("Waiting for instances to warm up before continuing. For example: i-")
    assert set(old) < set(s.members("InService"))
    s.skip(60)
    s.refreshed("Successful")
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, DefaultInstanceWarmup=30)
    s.refresh(version=None)
    assert s.refreshed()["Preferences"]["InstanceWarmup"] == 30
    s.refresh_is_over()
    s.refresh(version=None, InstanceWarmup=0)
    s.refreshed("Successful")


def a_refresh_is_pending_first(server: Any) -> Iterator[None]:
    """ "Check the status of an instance refresh": Pending, then InProgress; the newest is described first."""
    s = pinned(server)
    yield
    s.settled()
    first = s.refresh()
    pending = s.refreshed()
    assert (pending["InstanceRefreshId"], pending["Status"], pending.get("StartTime")) == (first, "Pending", None)
    assert s.refreshed("InProgress")["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "2"
    s.refreshed("Successful")
    second = s.refresh("1")
    describe = s.scaling.describe_instance_refreshes
    both = describe(AutoScalingGroupName=s.name)["InstanceRefreshes"]
    assert [r["InstanceRefreshId"] for r in both] == [second, first]
    page = describe(AutoScalingGroupName=s.name, MaxRecords=1)
    assert [r["InstanceRefreshId"] for r in page["InstanceRefreshes"]] == [second]
    rest = describe(AutoScalingGroupName=s.name, MaxRecords=1, NextToken=page["NextToken"])
    assert [r["InstanceRefreshId"] for r in rest["InstanceRefreshes"]] == [first]
    assert describe(AutoScalingGroupName=s.name, InstanceRefreshIds=[first])["InstanceRefreshes"] == both[1:]


def instances_that_match_are_skipped(server: Any) -> Iterator[None]:
    """Skip matching: instances of the desired configuration stay."""
    s = pinned(server)
    yield
    s.settled()
    s.refresh("1", SkipMatching=True)
    at_once = s.refreshed("Successful")
    assert (at_once["PercentageComplete"], at_once["InstancesToUpdate"]) == (100, 0)
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("2"))
    lost, kept = s.settled()
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=lost, ShouldDecrementDesiredCapacity=False)
    new = next(i for i in s.settled(without=(lost,)) if i != kept)
    s.refresh(SkipMatching=True)
    s.refreshed("Successful")
    assert new in s.members() and kept not in s.members()
    assert set(s.versions().values()) == {"2"}


def without_a_desired_configuration_all_are_replaced_by_the_groups_own(server: Any) -> Iterator[None]:
    """StartInstanceRefresh, DesiredConfiguration: optional; a new default version has no effect meanwhile."""
    s = pinned(server)
    yield
    old = s.settled()
    s.ec2.modify_launch_template(LaunchTemplateId=s.template, DefaultVersion="2")
    s.refresh(version=None)
    s.refreshed("Successful")
    assert not set(s.members()) & set(old)
    assert set(s.versions().values()) == {"1"}
    assert s.described()["LaunchTemplate"]["Version"] == "1"


def protected_instances_are_waited_for_ignored_or_replaced(server: Any) -> Iterator[None]:
    """ScaleInProtectedInstances: Wait for an hour, which fails; Ignore; Refresh."""
    s = pinned(server)
    yield
    protected, other = s.settled()
    s.scaling.set_instance_protection(AutoScalingGroupName=s.name, InstanceIds=[protected], ProtectedFromScaleIn=True)
    s.refresh()
    s.until(lambda: protected in s.members() and other not in s.members())
    s.until(lambda: protected in (s.refreshed().get("StatusReason") or ""))
    s.skip(3601)
    assert protected in s.refreshed("Failed")["StatusReason"]
    assert s.described()["LaunchTemplate"]["Version"] == "1"
    s.refresh(ScaleInProtectedInstances="Ignore")
    s.refreshed("Successful")
    assert protected in s.members()
    s.refresh(ScaleInProtectedInstances="Refresh")
    s.refreshed("Successful")
    assert protected not in s.members()
