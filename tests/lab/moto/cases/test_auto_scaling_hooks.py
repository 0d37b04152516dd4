"""Lifecycle hooks. Pages are named in patches/auto_scaling/hooks.py and lifecycle.py."""

from collections.abc import Iterator
from typing import Any

from cases.scaling import Scaling
from cases.scene import refused


def _with_one_waiting(s: Scaling, state: str) -> str:
    return s.until(lambda: s.members(state))[0]


def an_instance_waits_before_it_is_in_service(server: Any) -> Iterator[None]:
    """User Guide, "How lifecycle hooks work": Pending:Wait until the action is completed."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING", HeartbeatTimeout=30)
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    waiting = _with_one_waiting(s, "Pending:Wait")
    assert s.target(waiting) == "InService"
    assert s.members("InService") == []
    activity = s.scaling.describe_scaling_activities(AutoScalingGroupName=s.name)["Activities"][0]
    assert activity["StatusCode"] == "MidLifecycleAction"
    s.complete(waiting)
    assert s.settled(1) == [waiting]
    with refused("ValidationError", says=f"No active Lifecycle Action found with instance ID {waiting}"):
        s.complete(waiting)


def a_launch_goes_through_all_pending_states(server: Any) -> Iterator[None]:
    """User Guide, "Amazon EC2 Auto Scaling instance lifecycle": Pending, Pending:Wait, Pending:Proceed, InService; IMDS
    shows InService in all of them ("the state that the instance is transitioning to")."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING")
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    states: list[str] = []

    def look() -> bool:
        for instance in s.described()["Instances"]:
            assert s.target(instance["InstanceId"]) == "InService"
            states.append(instance["LifecycleState"])
        return states[-1:] == ["Pending:Wait"]

    s.until(look)
    assert set(states) <= {"Pending", "Pending:Wait"}
    waiting = s.members()[0]
    s.complete(waiting)
    assert s.target(waiting) == "InService"
    s.until(lambda: s.members("InService") == [waiting])


def an_action_is_completed_by_its_token_too(server: Any) -> Iterator[None]:
    """CompleteLifecycleAction, LifecycleActionToken: the token in notifications."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING", HeartbeatTimeout=60)
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    waiting = _with_one_waiting(s, "Pending:Wait")
    (action,) = server.post("lifecycle-actions", {"instance": waiting})["actions"]
    named = {"AutoScalingGroupName": s.name, "LifecycleHookName": action["hook"]}
    for token in ("e85eb647-4fe0-4909-b341-a6c42d8aba1f", None):
        by = {"LifecycleActionToken": token} if token else {}
        with refused("ValidationError", says=token or "must be specified"):
            s.scaling.complete_lifecycle_action(**named, **by, LifecycleActionResult="CONTINUE")
    s.skip(50)
    s.scaling.record_lifecycle_action_heartbeat(**named, LifecycleActionToken=action["token"])
    s.skip(50)
    assert s.members("Pending:Wait") == [waiting]
    with refused("ValidationError", says="[CONTINUE, ABANDON]"):
        s.scaling.complete_lifecycle_action(
            **named, LifecycleActionToken=action["token"], LifecycleActionResult="PERHAPS"
        )
    s.scaling.complete_lifecycle_action(**named, LifecycleActionToken=action["token"], LifecycleActionResult="CONTINUE")
    assert s.settled(1) == [waiting]


def an_abandoned_launch_goes_through_the_other_hook(server: Any) -> Iterator[None]:
    """User Guide, "Troubleshoot EC2 instance launch failures": its activity is Cancelled with a reason. Its wait at a
    termination hook isn't documented."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING", "hello")
    s.hook("TERMINATING", "goodbye")
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    first = _with_one_waiting(s, "Pending:Wait")
    (action,) = server.post("lifecycle-actions", {"instance": first})["actions"]
    s.complete(first, "ABANDON", "hello")
    assert s.members("Terminating:Wait") == [first]
    assert s.target(first) == "Terminated"
    says = (
        "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "
        f"{action['token']} was abandoned: Lifecycle Action Completed with ABANDON Result"
    )
    launch = next(a for a in s.activities() if a["Description"].startswith(f"Launching a new EC2 instance: {first}"))
    assert (launch["StatusCode"], launch["StatusMessage"]) == ("Cancelled", says)
    assert launch["Description"] == f"Launching a new EC2 instance: {first}.  Status Reason: {says}"
    with refused("ValidationError", says="No active Lifecycle Action found"):
        s.complete(first, name="hello")
    s.until(lambda: s.members("Pending:Wait"))
    s.complete(first, name="goodbye")
    s.until(lambda: first not in s.members())


def a_launch_continues_by_default_if_its_hook_says_so(server: Any) -> Iterator[None]:
    """PutLifecycleHook, DefaultResult CONTINUE: in service after the heartbeat timeout."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING", HeartbeatTimeout=60, DefaultResult="CONTINUE")
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    waiting = _with_one_waiting(s, "Pending:Wait")
    s.skip(59)
    assert s.members("Pending:Wait") == [waiting]
    s.skip(2)
    assert s.settled(1) == [waiting]


def a_waiting_instance_can_be_terminated(server: Any) -> Iterator[None]:
    """TerminateInstanceInAutoScalingGroup of an instance in Pending:Wait: its launch action is over."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING")
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    waiting = _with_one_waiting(s, "Pending:Wait")
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=waiting, ShouldDecrementDesiredCapacity=True)
    with refused("ValidationError", says="No active Lifecycle Action found"):
        s.complete(waiting)
    s.until(lambda: not s.members())


def an_abandoned_launch_is_terminated_and_replaced(server: Any) -> Iterator[None]:
    """User Guide, "Considerations for lifecycle hooks": ABANDON while launching."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING")
    yield
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    first = _with_one_waiting(s, "Pending:Wait")
    s.complete(first, "ABANDON")
    second = s.until(lambda: [i for i in s.members("Pending:Wait") if i != first])[0]
    s.until(lambda: s.instance(first)["State"]["Name"] == "terminated")
    s.complete(second)
    assert s.settled(1) == [second]


def an_instance_waits_before_it_is_terminated_and_is_replaced_meanwhile(server: Any) -> Iterator[None]:
    """User Guide, "How lifecycle hooks work": Terminating:Wait; "Retrieve the target lifecycle state": Terminated."""
    s = Scaling(server)
    s.make()
    s.hook("TERMINATING", HeartbeatTimeout=60)
    yield
    leaving = s.settled()[0]
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=False)
    assert s.members("Terminating:Wait") == [leaving]
    assert s.target(leaving) == "Terminated"
    s.until(lambda: len(s.members("InService")) == 2)
    assert s.instance(leaving)["State"]["Name"] == "running"
    assert len(s.members()) == 3
    s.complete(leaving)
    s.settled(without=(leaving,))
    assert s.instance(leaving)["State"]["Name"] == "terminated"


def a_hook_times_out_with_its_default_result(server: Any) -> Iterator[None]:
    """PutLifecycleHook, HeartbeatTimeout and DefaultResult; RecordLifecycleActionHeartbeat restarts the timeout."""
    s = Scaling(server)
    s.make()
    s.hook("TERMINATING", HeartbeatTimeout=60, DefaultResult="CONTINUE")
    yield
    leaving = s.settled()[0]
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=False)
    s.skip(50)
    s.scaling.record_lifecycle_action_heartbeat(AutoScalingGroupName=s.name, LifecycleHookName="it", InstanceId=leaving)
    s.skip(50)
    assert s.members("Terminating:Wait") == [leaving]
    s.skip(11)
    s.settled(without=(leaving,))


def an_uncompleted_launch_is_abandoned(server: Any) -> Iterator[None]:
    """PutLifecycleHook: by default 3600 s and ABANDON."""
    s = Scaling(server)
    s.make(MinSize=0)
    s.hook("LAUNCHING")
    yield
    hook = s.scaling.describe_lifecycle_hooks(AutoScalingGroupName=s.name)["LifecycleHooks"][0]
    assert (hook["HeartbeatTimeout"], hook["GlobalTimeout"], hook["DefaultResult"]) == (3600, 172800, "ABANDON")
    s.scaling.set_desired_capacity(AutoScalingGroupName=s.name, DesiredCapacity=1)
    first = _with_one_waiting(s, "Pending:Wait")
    s.skip(3601)
    s.until(lambda: [i for i in s.members("Pending:Wait") if i != first])


def hooks_given_with_the_group_are_for_its_first_instances(server: Any) -> Iterator[None]:
    """CreateAutoScalingGroup, LifecycleHookSpecificationList."""
    s = Scaling(server)
    yield
    launching = {"LifecycleHookName": "it", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    s.make(LifecycleHookSpecificationList=[launching])
    s.until(lambda: len(s.members("Pending:Wait")) == 2)
    for member in s.members():
        s.complete(member)
    s.settled()


def a_lost_instance_goes_through_its_hook_too(server: Any) -> Iterator[None]:
    """User Guide, "Amazon EC2 Auto Scaling lifecycle hooks": also instances that EC2 ended are Terminating:Wait."""
    s = Scaling(server)
    s.make()
    s.hook("TERMINATING", HeartbeatTimeout=30)
    yield
    lost = s.settled()[0]
    s.ec2.terminate_instances(InstanceIds=[lost])
    s.until(lambda: s.members("Terminating:Wait") == [lost] and len(s.members("InService")) == 2)
    s.skip(31)
    s.settled(without=(lost,))


def a_deleted_hooks_actions_are_completed(server: Any) -> Iterator[None]:
    """DeleteLifecycleHook: outstanding actions are completed, CONTINUE for terminating instances."""
    s = Scaling(server)
    s.make()
    s.hook("TERMINATING")
    yield
    leaving = s.settled()[0]
    s.scaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=False)
    assert s.members("Terminating:Wait") == [leaving]
    s.scaling.delete_lifecycle_hook(AutoScalingGroupName=s.name, LifecycleHookName="it")
    s.settled(without=(leaving,))
    with refused("ValidationError", says="No Lifecycle Hook found"):
        s.scaling.delete_lifecycle_hook(AutoScalingGroupName=s.name, LifecycleHookName="it")


def force_delete_skips_hooks(server: Any) -> Iterator[None]:
    """DeleteAutoScalingGroup, ForceDelete: "also deletes any outstanding lifecycle actions"."""
    s = Scaling(server)
    s.make()
    s.hook("TERMINATING")
    yield
    s.settled()
    s.scaling.delete_auto_scaling_group(AutoScalingGroupName=s.name, ForceDelete=True)
    assert s.described()["Status"] == "Delete in progress"
    s.until(lambda: not s.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[s.name])["AutoScalingGroups"])


def a_heartbeat_timeout_is_at_least_30_seconds(server: Any) -> Iterator[None]:
    """PutLifecycleHook, HeartbeatTimeout: 30 to 7200 seconds."""
    s = Scaling(server)
    s.make()
    yield
    with refused("ValidationError", says="between 30 and 7200"):
        s.hook("TERMINATING", HeartbeatTimeout=10)
    with refused("ValidationError", says="Lifecycle transition must be one of"):
        s.hook("DREAMING")
