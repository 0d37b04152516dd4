"""The setup of Auto Scaling cases: a scene with two zones, a launch template, and optionally a group."""

import time
from collections.abc import Callable
from typing import Any

from cases.scene import TRUST, Scene


class Scaling(Scene):
    """A scene with a launch template and a subnet in a second zone."""

    def __init__(self, server: Any, **data: Any) -> None:
        super().__init__(server)
        self.scaling = server.client("autoscaling")
        self.other_subnet = self.ec2.create_subnet(
            VpcId=self.vpc, CidrBlock="10.50.2.0/24", AvailabilityZone="eu-west-1b"
        )["Subnet"]["SubnetId"]
        self.data = {"ImageId": self.image, "InstanceType": "t3.small", **data}
        made = self.ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=self.data)
        self.template = made["LaunchTemplate"]["LaunchTemplateId"]

    def asked(self, **more: Any) -> dict[str, Any]:
        """The arguments of CreateAutoScalingGroup: two instances over both zones."""
        return {
            "AutoScalingGroupName": self.name,
            "LaunchTemplate": {"LaunchTemplateId": self.template},
            "MinSize": 2,
            "MaxSize": 2,
            "VPCZoneIdentifier": f"{self.subnet},{self.other_subnet}",
            **more,
        }

    def make(self, **more: Any) -> None:
        """Creates the group."""
        self.scaling.create_auto_scaling_group(**self.asked(**more))

    def pinned(self, version: str = "1") -> dict[str, str]:
        """The launch template with a version."""
        return {"LaunchTemplateId": self.template, "Version": version}

    def next_version(self, **data: Any) -> None:
        """Creates another version of the launch template, by default with another instance type."""
        self.ec2.create_launch_template_version(
            LaunchTemplateId=self.template, LaunchTemplateData={**self.data, "InstanceType": "t3.large", **data}
        )

    def refresh(self, version: str | None = "2", lowest: int = 100, highest: int = 200, **preferences: Any) -> str:
        """Starts an instance refresh to a version or to the group's own; by default it launches first."""
        bounds = {"MinHealthyPercentage": lowest, "MaxHealthyPercentage": highest}
        desired = {"DesiredConfiguration": {"LaunchTemplate": self.pinned(version)}} if version else {}
        return self.scaling.start_instance_refresh(
            AutoScalingGroupName=self.name,
            Preferences={name: value for name, value in {**bounds, **preferences}.items() if value is not None},
            **desired,
        )["InstanceRefreshId"]

    def refreshed(self, status: str | None = None) -> dict[str, Any]:
        """Waits for this status of the newest refresh, and returns its description."""

        def newest() -> dict[str, Any] | None:
            found = self.scaling.describe_instance_refreshes(AutoScalingGroupName=self.name)["InstanceRefreshes"][0]
            return found if status in (None, found["Status"]) else None

        return self.until(newest)

    def refresh_is_over(self) -> None:
        """Cancels the active refresh and waits for its end."""
        self.scaling.cancel_instance_refresh(AutoScalingGroupName=self.name, WaitForTransitioningInstances=False)
        self.refreshed("Cancelled")

    def activities(self) -> list[dict[str, Any]]:
        """The group's scaling activities, the newest first."""
        return self.scaling.describe_scaling_activities(AutoScalingGroupName=self.name)["Activities"]

    def versions(self) -> dict[str, str]:
        """The launch template's version that each of the group's instances has."""
        return {i["InstanceId"]: i["LaunchTemplate"]["Version"] for i in self.described()["Instances"]}

    def in_service(self, version: str) -> list[str]:
        """IDs of a version's instances that are in service."""
        versions = self.versions()
        return [i for i in self.members("InService") if versions.get(i) == version]

    def profile_of_its_own(self) -> str:
        """An instance profile with its own role, apart from the scene's."""
        name = f"{self.name}-own"
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name

    def hook(self, transition: str, name: str = "it", **more: Any) -> None:
        """Creates a lifecycle hook, by default named `it`."""
        self.scaling.put_lifecycle_hook(
            AutoScalingGroupName=self.name,
            LifecycleHookName=name,
            LifecycleTransition=f"autoscaling:EC2_INSTANCE_{transition}",
            **more,
        )

    def complete(self, instance: str, result: str = "CONTINUE", name: str = "it") -> None:
        """Completes an instance's lifecycle action at a hook."""
        self.scaling.complete_lifecycle_action(
            AutoScalingGroupName=self.name,
            LifecycleHookName=name,
            InstanceId=instance,
            LifecycleActionResult=result,
        )

    def described(self) -> dict[str, Any]:
        """The group's current description."""
        return self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"][0]

    def members(self, state: str | None = None) -> list[str]:
        """IDs of the group's instances in this state, or in any."""
        return [i["InstanceId"] for i in self.described()["Instances"] if state in (None, i["LifecycleState"])]

    def settled(self, count: int = 2, without: tuple[str, ...] = ()) -> list[str]:
        """Waits for `count` instances in service other than `without`. Returns their IDs."""
        return self.until(lambda: self._settled(count, without))

    def _settled(self, count: int, without: tuple[str, ...]) -> list[str] | None:
        members = self.members("InService")
        return members if len(members) == count == len(self.members()) and not set(members) & set(without) else None

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until a condition is true. Returns its value."""
        deadline = time.monotonic() + self.server.patience
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the group is still {self.described()}")
            time.sleep(0.02)
        return found

    def skip(self, seconds: int) -> None:
        """Advances Auto Scaling's clock."""
        self.server.post("auto-scaling", {"skip_ms": seconds * 1000})

    def target(self, instance: str) -> str | None:
        """IMDS's answer at autoscaling/target-lifecycle-state."""
        return next(i for i in self.server.world()["instances"] if i["id"] == instance).get("target_lifecycle_state")

    def zones(self) -> list[str]:
        """The zones of the group's instances, sorted."""
        return sorted(i["AvailabilityZone"] for i in self.described()["Instances"])


def pinned(server: Any, **more: Any) -> Scaling:
    """A group of two, pinned to version 1 of a launch template that has two."""
    s = Scaling(server)
    s.next_version()
    s.make(LaunchTemplate=s.pinned(), **more)
    return s
