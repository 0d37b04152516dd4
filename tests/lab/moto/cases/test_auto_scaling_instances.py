"""Replacement and termination of Auto Scaling instances. Pages are named in patches/auto_scaling."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling
from cases.scene import refused


def a_terminated_instance_is_replaced_in_its_zone(server: Any) -> Iterator[None]:
    """User Guide, "Health checks": not running is unhealthy, within the grace period too."""
    s = Scaling(server)
    s.make(HealthCheckGracePeriod=300)
    yield
    lost = s.settled()[0]
    zone = s.instance(lost)["Placement"]["AvailabilityZone"]
    s.ec2.terminate_instances(InstanceIds=[lost])
    after = s.settled(without=(lost,))
    assert zone in {s.instance(i)["Placement"]["AvailabilityZone"] for i in after}
    assert s.zones() == ["eu-west-1a", "eu-west-1b"]
    causes = [
        a["Cause"]
        for a in s.scaling.describe_scaling_activities(AutoScalingGroupName=s.name)["Activities"]
        if a["Description"] == f"Terminating EC2 instance: {lost}"
    ]
    assert "in response to an EC2 health check indicating it has been terminated or stopped" in causes[0]


def a_stopped_instance_is_terminated_and_replaced(server: Any) -> Iterator[None]:
    """User Guide, "Health check grace period": "if you stop an instance, it is marked unhealthy and replaced"."""
    s = Scaling(server)
    s.make()
    yield
    lost = s.settled()[0]
    s.ec2.stop_instances(InstanceIds=[lost])
    s.settled(without=(lost,))
    assert s.instance(lost)["State"]["Name"] == "terminated"


def an_instances_health_can_be_set(server: Any) -> Iterator[None]:
    """SetInstanceHealth; within the grace period only with ShouldRespectGracePeriod=false."""
    s = Scaling(server)
    s.make(HealthCheckGracePeriod=300)
    yield
    lost = s.settled()[0]
    ill = {"InstanceId": lost, "HealthStatus": "Unhealthy"}
    s.scaling.set_instance_health(**ill)
    assert s.scaling.describe_auto_scaling_instances(InstanceIds=[lost])["AutoScalingInstances"][0]["HealthStatus"] in (
        "HEALTHY",
    )
    s.hook("TERMINATING")
    s.scaling.set_instance_health(**ill, ShouldRespectGracePeriod=False)
    s.until(lambda: s.members("Terminating:Wait") == [lost])
    with refused("ValidationError", says="terminating"):
        s.scaling.set_instance_health(**ill, ShouldRespectGracePeriod=False)
    s.complete(lost)
    s.settled(without=(lost,))
    with refused("ValidationError", says="Healthy, Unhealthy"):
        s.scaling.set_instance_health(InstanceId=s.members()[0], HealthStatus="Sick")
    with refused("ValidationError", says="No managed instance found for instance ID: i-0123456789abcdef0"):
        s.scaling.set_instance_health(InstanceId="i-0123456789abcdef0", HealthStatus="Unhealthy")


def nothing_is_replaced_while_replacement_is_suspended(server: Any) -> Iterator[None]:
    """User Guide, "Suspend and resume Amazon EC2 Auto Scaling processes": ReplaceUnhealthy, Launch."""
    s = Scaling(server)
    s.make()
    yield
    lost = s.settled()[0]
    s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["ReplaceUnhealthy"])
    s.ec2.terminate_instances(InstanceIds=[lost])

    def health() -> str:
        return next(i["HealthStatus"] for i in s.described()["Instances"] if i["InstanceId"] == lost)

    s.until(lambda: health() == "Unhealthy")
    assert len(s.members()) == 2
    s.scaling.suspend_processes(AutoScalingGroupName=s.name, ScalingProcesses=["Launch"])
    s.scaling.resume_processes(AutoScalingGroupName=s.name, ScalingProcesses=["ReplaceUnhealthy"])
    s.until(lambda: lost not in s.members())
    assert len(s.members()) == 1
    assert [p["ProcessName"] for p in s.described()["SuspendedProcesses"]] == ["Launch"]
    s.scaling.resume_processes(AutoScalingGroupName=s.name)
    s.settled(without=(lost,))


def an_ended_instance_is_replaced_unless_the_group_shrinks(server: Any) -> Iterator[None]:
    """TerminateInstanceInAutoScalingGroup."""
    s = Scaling(server)
    s.make(MinSize=1)
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=2)
    yield
    end = s.scaling.terminate_instance_in_auto_scaling_group
    first = s.settled()
    answer = end(InstanceId=first[0], ShouldDecrementDesiredCapacity=False)["Activity"]
    assert (answer["StatusCode"], answer["Description"]) == ("InProgress", f"Terminating EC2 instance: {first[0]}")
    second = s.settled(without=(first[0],))
    end(InstanceId=second[0], ShouldDecrementDesiredCapacity=True)
    left = s.settled(1)
    assert left == [second[1]]
    with refused("ValidationError", says="desiredSize equals minSize (1)"):
        end(InstanceId=left[0], ShouldDecrementDesiredCapacity=True)
    activities = s.scaling.describe_scaling_activities(AutoScalingGroupName=s.name)["Activities"]
    assert {a["StatusCode"] for a in activities} == {"Successful"}
    assert len(activities) == 5


def a_protected_instance_is_not_the_surplus(server: Any) -> Iterator[None]:
    """User Guide, "Use instance scale-in protection"; "Default termination policy": the fullest zone."""
    s = Scaling(server)
    s.make(MinSize=1, MaxSize=3, DesiredCapacity=3)
    yield
    s.settled(3)
    crowded = [i["InstanceId"] for i in s.described()["Instances"] if i["AvailabilityZone"] == "eu-west-1a"]
    assert len(crowded) == 2
    s.scaling.set_instance_protection(AutoScalingGroupName=s.name, InstanceIds=crowded[:1], ProtectedFromScaleIn=True)
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=2)
    left = s.settled(2)
    assert crowded[0] in left and crowded[1] not in left
    assert s.zones() == ["eu-west-1a", "eu-west-1b"]
