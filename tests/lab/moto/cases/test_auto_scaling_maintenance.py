"""Instance maintenance policies: the order in which an unhealthy instance is replaced. Pages are named in
patches/auto_scaling/maintenance.py and reconcile.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling
from cases.scene import refused

_FIRST = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}


def _is_ill(s: Scaling, instance: str) -> None:
    s.scaling.set_instance_health(InstanceId=instance, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)


def the_replacement_serves_before_the_unhealthy_one_goes(server: Any) -> Iterator[None]:
    """At least 100 % healthy: launch before terminating, through the hook, beyond the maximum size."""
    s = Scaling(server)
    yield
    s.make(InstanceMaintenancePolicy=_FIRST)
    ill, well = s.settled()
    assert s.described()["InstanceMaintenancePolicy"] == _FIRST
    s.hook("LAUNCHING")
    _is_ill(s, ill)
    waiting = s.until(lambda: s.members("Pending:Wait"))
    for _ in range(10):
        assert sorted(s.members()) == sorted([ill, well, *waiting])
    assert s.described()["Instances"][0]["HealthStatus"] == "Unhealthy"
    s.complete(waiting[0])
    assert s.settled(without=(ill,)) == [well, *waiting]
    launched = next(a for a in s.activities() if waiting[0] in a["Description"])
    assert launched["Cause"].endswith("launched in response to an unhealthy instance needing to be replaced.")


def the_replacement_warms_up_first(server: Any) -> Iterator[None]:
    """ "Instance warmup": the default instance warmup, if the group has one."""
    s = Scaling(server)
    yield
    s.make(InstanceMaintenancePolicy=_FIRST, DefaultInstanceWarmup=120)
    ill = s.settled()[0]
    assert s.described()["DefaultInstanceWarmup"] == 120
    s.skip(120)
    _is_ill(s, ill)
    s.until(lambda: len(s.members("InService")) == 3)
    s.skip(100)
    for _ in range(10):
        assert ill in s.members("InService")
    s.skip(20)
    s.settled(without=(ill,))


def a_terminated_instance_is_replaced_at_once(server: Any) -> Iterator[None]:
    """Terminate and launch, under any policy: "when an instance terminates unexpectedly"."""
    s = Scaling(server)
    yield
    s.make(InstanceMaintenancePolicy=_FIRST)
    lost = s.settled()[0]
    s.hook("LAUNCHING")
    s.ec2.terminate_instances(InstanceIds=[lost])
    s.until(lambda: s.members("Pending:Wait") and lost not in s.members())
    assert len(s.members()) == 2


def room_below_the_minimum_lets_it_end_at_once(server: Any) -> Iterator[None]:
    """At least 50 %, at most 100 %: terminate and launch."""
    s = Scaling(server)
    yield
    s.make(InstanceMaintenancePolicy={"MinHealthyPercentage": 50, "MaxHealthyPercentage": 100})
    ill = s.settled()[0]
    s.hook("LAUNCHING")
    _is_ill(s, ill)
    s.until(lambda: s.members("Pending:Wait") and ill not in s.members())
    assert len(s.members()) == 2


def the_replacement_of_an_instance_that_terminates_meanwhile_stays(server: Any) -> Iterator[None]:
    """The instance that was launched for it isn't surplus."""
    s = Scaling(server)
    yield
    s.make(InstanceMaintenancePolicy=_FIRST)
    ill, well = s.settled()
    s.hook("LAUNCHING")
    _is_ill(s, ill)
    waiting = s.until(lambda: s.members("Pending:Wait"))
    s.ec2.terminate_instances(InstanceIds=[ill])
    s.until(lambda: ill not in s.members())
    for _ in range(10):
        assert s.members() == [well, *waiting]
    s.complete(waiting[0])
    assert s.settled() == [well, *waiting]


def a_policy_is_two_percentages_or_none(server: Any) -> Iterator[None]:
    """InstanceMaintenancePolicy: 0 to 100 and 100 to 200, at most 100 apart; -1 for both clears it."""
    s = Scaling(server)
    s.make()
    yield

    def update(lowest: int | None, highest: int | None) -> None:
        given = {"MinHealthyPercentage": lowest, "MaxHealthyPercentage": highest}
        policy = {name: value for name, value in given.items() if value is not None}
        s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, InstanceMaintenancePolicy=policy)

    for lowest, highest, says in (
        (100, None, "both MinHealthyPercentage and MaxHealthyPercentage must be specified"),
        (101, 150, "between 0 and 100"),
        (-1, 100, "between 0 and 100"),
        (90, 99, "between 100 and 200"),
        (100, 201, "between 100 and 200"),
        (90, 191, "cannot be greater than 100"),
    ):
        with refused("ValidationError", says=says):
            update(lowest, highest)
    update(90, 120)
    assert s.described()["InstanceMaintenancePolicy"] == {"MinHealthyPercentage": 90, "MaxHealthyPercentage": 120}
    update(-1, -1)
    assert "InstanceMaintenancePolicy" not in s.described()


def a_pinned_version_is_launched_with_any_default(server: Any) -> Iterator[None]:
    """User Guide, "Launch templates": a version number means the same version at each launch."""
    s = Scaling(server)
    s.next_version()
    s.make(LaunchTemplate=s.pinned())
    s.ec2.modify_launch_template(LaunchTemplateId=s.template, DefaultVersion="2")
    yield
    lost = s.settled()[0]
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=lost, ShouldDecrementDesiredCapacity=False)
    s.settled(without=(lost,))
    assert set(s.versions().values()) == {"1"}
    assert s.described()["LaunchTemplate"]["Version"] == "1"
    with refused("ValidationError", says="You must use a valid fully-formed launch template."):
        s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, LaunchTemplate=s.pinned("3"))
