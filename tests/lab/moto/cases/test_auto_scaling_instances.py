"""Instances of Auto Scaling groups: replaced, ended, attached, detached. Pages are named in patches/auto_scaling."""

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


def health_can_be_told(server: Any) -> Iterator[None]:
    """SetInstanceHealth; within the grace period only if it isn't to be respected."""
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


def nothing_is_replaced_while_that_is_suspended(server: Any) -> Iterator[None]:
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


def a_detached_instance_runs_on(server: Any) -> Iterator[None]:
    """DetachInstances (seen on AWS: `Detaching` for a while); "Detach or attach instances": the minimum stays kept;
    DeleteAutoScalingGroup; "Retrieve the target lifecycle state": Detached."""
    s = Scaling(server)
    s.make(MinSize=1, DesiredCapacity=2)
    yield
    leaving = s.settled()[0]
    assert s.target(leaving) == "InService"
    s.scaling.detach_instances(AutoScalingGroupName=s.name, InstanceIds=[leaving], ShouldDecrementDesiredCapacity=True)
    assert s.members("Detaching") == [leaving]
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, MinSize=0)
    with refused("ScalingActivityInProgress"):
        s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name)
    left = s.settled(1, without=(leaving,))
    with refused("ResourceInUse"):
        s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name)
    s.scaling.update_auto_scaling_group(AutoScalingGroupName=s.name, MinSize=1)
    with refused("ValidationError", says="desiredSize equals minSize (1). Detaching instance"):
        s.scaling.detach_instances(AutoScalingGroupName=s.name, InstanceIds=left, ShouldDecrementDesiredCapacity=True)
    with refused("ValidationError", says=f"{leaving} is not part of Auto Scaling group"):
        s.scaling.detach_instances(
            AutoScalingGroupName=s.name, InstanceIds=[leaving], ShouldDecrementDesiredCapacity=True
        )
    instance = s.instance(leaving)
    assert instance["State"]["Name"] == "running"
    assert "aws:autoscaling:groupName" not in {tag["Key"] for tag in instance["Tags"]}
    assert s.target(leaving) == "Detached"


def a_running_instance_can_be_attached(server: Any) -> Iterator[None]:
    """AttachInstances: the group grows by it, and its tags come along."""
    s = Scaling(server)
    s.make(MinSize=0, MaxSize=1, Tags=[{"Key": "of", "Value": "group", "PropagateAtLaunch": True}])
    one, two = (i["InstanceId"] for i in s.run(MinCount=2, MaxCount=2))
    yield
    s.scaling.attach_instances(AutoScalingGroupName=s.name, InstanceIds=[one])
    assert s.settled(1) == [one]
    tags = {tag["Key"]: tag["Value"] for tag in s.instance(one)["Tags"]}
    assert (tags["of"], tags["aws:autoscaling:groupName"]) == ("group", s.name)
    assert s.target(one) == "InService"
    with refused("ValidationError", says="min-size=0, max-size=1, and desired-size=1. To attach 1 instance"):
        s.scaling.attach_instances(AutoScalingGroupName=s.name, InstanceIds=[two])


def what_a_group_cannot_take_in_is_refused_and_nothing_of_the_call_is_done(server: Any) -> Iterator[None]:
    """User Guide, "Detach or attach instances": it runs, its AMI is still there, it is in one of the group's zones, and
    not a member of another group."""
    s = Scaling(server)
    s.make(MinSize=0, MaxSize=5, VPCZoneIdentifier=s.subnet)
    s.make(MinSize=0, MaxSize=5, AutoScalingGroupName=f"{s.name}-other")
    copy = s.ec2.copy_image(Name=f"{s.name}-copy", SourceImageId=s.image, SourceRegion="eu-west-1")["ImageId"]
    good, held, stopped = (i["InstanceId"] for i in s.run(MinCount=3, MaxCount=3))
    elsewhere = s.run(SubnetId=s.other_subnet)[0]["InstanceId"]
    orphan = s.run(ImageId=copy)[0]["InstanceId"]
    s.ec2.stop_instances(InstanceIds=[stopped])
    s.ec2.deregister_image(ImageId=copy)
    yield
    s.scaling.attach_instances(AutoScalingGroupName=f"{s.name}-other", InstanceIds=[held])
    for unfit, why in (
        (held, "is already part of"),
        (stopped, "must be in Running state"),
        (elsewhere, "is not in the Availability Zones"),
        (orphan, "does not exist"),
        ("i-0123456789abcdef0", "Invalid Instance ID"),
    ):
        with refused("ValidationError", says=why):
            s.scaling.attach_instances(AutoScalingGroupName=s.name, InstanceIds=[good, unfit])
    assert (s.members(), s.described()["DesiredCapacity"]) == ([], 0)


def a_protected_instance_is_not_the_surplus(server: Any) -> Iterator[None]:
    """User Guide, "Use instance scale-in protection"; "Default termination policy": of the zone with the most."""
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
