"""What Auto Scaling knows: groups, their members, hooks, activities and instance refreshes, and what time it is to it.

Plain values that name instances and templates by their ids, so that stale.py can copy them, and nothing of it hangs on
EC2's own objects.
"""

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException

import instrument
import stale
from constants import ACCOUNT, PARTITION, REGION

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
GROUP_TAG = "aws:autoscaling:groupName"
# InstanceRefresh, Status: those of a refresh that isn't over.
ACTIVE = ("Pending", "InProgress", "Cancelling", "RollbackInProgress")

_skipped = 0.0


class Refused(ServiceException):
    """An error as Auto Scaling words it."""


def refused(message: str, code: str = "ValidationError") -> Refused:
    """Most of what is wrong with a request is a ValidationError."""
    return Refused(code, message)


def now() -> float:
    """Auto Scaling's own clock, in seconds."""
    return time.monotonic() + _skipped


def skip(seconds: float) -> None:
    """Puts its clock forward: what waits for a time-out needn't be waited for."""
    global _skipped
    _skipped += seconds


def stamp() -> datetime:
    """The time as it is shown."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Hook:
    """A lifecycle hook."""

    name: str
    transition: str
    timeout: int = 3600
    default: str = "ABANDON"
    metadata: str | None = None

    @property
    def longest(self) -> int:
        """LifecycleHook, GlobalTimeout: 48 hours or 100 time-outs, whichever is less."""
        return min(172800, 100 * self.timeout)


@dataclass
class Pause:
    """A lifecycle action that is waited for."""

    hook: str
    timeout: int
    default: str
    until: float
    at_most: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Activity:
    """A scaling activity, as DescribeScalingActivities tells of it."""

    group: str
    description: str
    cause: str
    status: str = "InProgress"
    says: str | None = None
    progress: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start: datetime = field(default_factory=stamp)
    end: datetime | None = None

    def finish(self, status: str = "Successful") -> None:
        """It is over."""
        self.status, self.progress, self.end = status, 100, stamp()


@dataclass
class Member:
    """An instance of a group."""

    instance: str
    kind: str
    zone: str
    subnet: str
    template: dict[str, str] | None
    activity: Activity
    state: str = "Pending"
    health: str = "Healthy"
    protected: bool = False
    # Launched beyond the desired capacity, so that another member can end: no part of the group's size until then.
    spare: bool = False
    in_service: float = 0.0
    launched: float = field(default_factory=now)
    pauses: list[Pause] = field(default_factory=list)

    @property
    def leaves(self) -> bool:
        """Whether it no longer counts as capacity."""
        return self.state.startswith("Terminating")


@dataclass
class Rollback:
    """What a refresh had done when it began to be rolled back, and why it was."""

    why: str
    updated: int
    percentage: int
    left: int
    start: datetime = field(default_factory=stamp)


@dataclass
class Refresh:
    """An instance refresh: the members that are to be replaced, and how far that is."""

    group: str
    # The launch template of its desired configuration, as it was named.
    desired: dict[str, str] | None
    preferences: dict[str, Any]
    status: str = "Pending"
    says: str | None = None
    # Ids of the members that are to end, and of those that stay though they were there before.
    outdated: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    # Ids of the members that came meanwhile, to tell which of them are lost.
    fresh: set[str] = field(default_factory=set)
    total: int = 0
    updated: int = 0
    best: int = 0
    # Since when replacements fail; nothing while they don't.
    trouble: float | None = None
    asked: float = field(default_factory=now)
    # Ids of members that a cancellation waits for.
    awaited: set[str] = field(default_factory=set)
    rollback: Rollback | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start: datetime | None = None
    end: datetime | None = None

    @property
    def percentage(self) -> int:
        """PercentageComplete."""
        return 100 * self.updated // self.total if self.total else 100


@dataclass
class Group:
    """An Auto Scaling group."""

    name: str
    smallest: int
    largest: int
    desired: int
    template: dict[str, str]
    subnets: list[str]
    settings: dict[str, Any]
    tags: dict[str, tuple[str, bool]] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    suspended: set[str] = field(default_factory=set)
    activities: list[Activity] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)
    deleting: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=stamp)
    looked: float = 0.0
    launch_failures: int = 0
    launch_after: float = 0.0

    @property
    def arn(self) -> str:
        return arn(self.name, self.id)

    @property
    def capacity(self) -> list[Member]:
        """The members that count."""
        return [member for member in self.members if not member.leaves]

    @property
    def size(self) -> int:
        """What is compared to the desired capacity."""
        return sum(1 for member in self.capacity if not member.spare)

    @property
    def refresh(self) -> Refresh | None:
        """The instance refresh that isn't over: one at most."""
        return next((refresh for refresh in self.refreshes if refresh.status in ACTIVE), None)

    @property
    def launches_from(self) -> dict[str, str]:
        """User Guide, "How an instance refresh works", Desired configuration: while a refresh is in progress, new
        instances have it, whatever they are launched for."""
        refresh = self.refresh
        in_progress = refresh is not None and refresh.status == "InProgress"
        return refresh.desired if in_progress and refresh.desired else self.template

    def launched_tags(self) -> dict[str, str]:
        """The tags that go to instances."""
        return {key: value for key, (value, propagate) in self.tags.items() if propagate}

    def begin(self, description: str, cause: str) -> Activity:
        """A new activity; the newest are described first."""
        activity = Activity(self.name, description, f"At {stamp():%Y-%m-%dT%H:%M:%SZ} {cause}")
        self.activities.insert(0, activity)
        return activity


@dataclass
class Store:
    """All of Auto Scaling in the lab's account and Region."""

    groups: dict[str, Group] = field(default_factory=dict)
    # What IMDS tells instances at autoscaling/target-lifecycle-state.
    targets: dict[str, str] = field(default_factory=dict)

    def group(self, name: str | None) -> Group:
        """The group of this name, which must be there and stay."""
        group = self.described(name)
        if group.deleting:
            raise refused("The AutoScaling group may not be modified while it is pending delete")
        return group

    def described(self, name: str | None) -> Group:
        """The group of this name, which may be about to go."""
        group = self.groups.get(name or "")
        if group is None:
            raise refused(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return group

    def member(self, instance: str) -> tuple[Group, Member] | None:
        """An instance's group and what is known of it there."""
        found = ((g, m) for g in self.groups.values() for m in g.members if m.instance == instance)
        return next(found, None)

    def managed(self, instance: str | None) -> tuple[Group, Member]:
        """The same, for an instance that a call names."""
        found = self.member(instance or "")
        if found is None:
            raise refused(f"Instance Id not found - No managed instance found for instance ID: {instance}")
        return found


def store() -> Store:
    """As it is now."""
    backend = instrument.ec2()
    if not hasattr(backend, "auto_scaling"):
        backend.auto_scaling = Store()
    return backend.auto_scaling


def seen() -> Store:
    """As Describe calls see it: the past, if the lab says so."""
    past = stale.past()
    return getattr(past, "auto_scaling", Store()) if past else store()


def arn(name: str, group_id: str = "*") -> str:
    """A group's ARN; without its id, one as policies write it."""
    return f"arn:{PARTITION}:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{group_id}:autoScalingGroupName/{name}"
