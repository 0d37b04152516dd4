"""Auto Scaling's state: groups, their members, hooks, activities and instance refreshes, and its clock.

These are plain values with the IDs of instances and templates, not EC2's objects, so that stale.py can copy them.
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
# InstanceRefresh, Status: of an active refresh.
ACTIVE = ("Pending", "InProgress", "Cancelling", "RollbackInProgress")

_skipped = 0.0


class Refused(ServiceException):
    """An error of Auto Scaling."""


def refused(message: str, code: str = "ValidationError") -> Refused:
    """An error; most are ValidationErrors."""
    return Refused(code, message)


def now() -> float:
    """Auto Scaling's own clock, in seconds."""
    return time.monotonic() + _skipped


def skip(seconds: float) -> None:
    """Advances the clock, so that tests needn't wait for a timeout."""
    global _skipped
    _skipped += seconds


def stamp() -> datetime:
    """The time in answers."""
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
        """LifecycleHook, GlobalTimeout: 48 hours or 100 timeouts, whichever is less."""
        return min(172800, 100 * self.timeout)


@dataclass
class Pause:
    """A lifecycle action that waits for its completion."""

    hook: str
    timeout: int
    default: str
    until: float
    at_most: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Activity:
    """A scaling activity (DescribeScalingActivities)."""

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
        """Ends the activity."""
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
    # Launched beyond the desired capacity so that another member can end; not counted until then.
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
    """A refresh's progress when its rollback began, and the reason."""

    why: str
    updated: int
    percentage: int
    left: int
    start: datetime = field(default_factory=stamp)


@dataclass
class Refresh:
    """An instance refresh and its progress."""

    group: str
    # The launch template of its desired configuration, as given.
    desired: dict[str, str] | None
    preferences: dict[str, Any]
    status: str = "Pending"
    says: str | None = None
    # IDs of the members to replace, and of older members that stay.
    outdated: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    # IDs of the new members, to notice lost ones.
    fresh: set[str] = field(default_factory=set)
    total: int = 0
    updated: int = 0
    best: int = 0
    # When replacements began to fail; None while they succeed.
    trouble: float | None = None
    asked: float = field(default_factory=now)
    # IDs of members that a cancellation waits for.
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
        """The members that count as capacity."""
        return [member for member in self.members if not member.leaves]

    @property
    def size(self) -> int:
        """The size that is compared with the desired capacity."""
        return sum(1 for member in self.capacity if not member.spare)

    @property
    def refresh(self) -> Refresh | None:
        """The active instance refresh, at most one."""
        return next((refresh for refresh in self.refreshes if refresh.status in ACTIVE), None)

    @property
    def launches_from(self) -> dict[str, str]:
        """User Guide, "How an instance refresh works", Desired configuration: while a refresh is in progress, all new
        instances use it."""
        refresh = self.refresh
        in_progress = refresh is not None and refresh.status == "InProgress"
        return refresh.desired if in_progress and refresh.desired else self.template

    def launched_tags(self) -> dict[str, str]:
        """The tags that are propagated to instances."""
        return {key: value for key, (value, propagate) in self.tags.items() if propagate}

    def begin(self, description: str, cause: str) -> Activity:
        """Begins an activity; the newest is first."""
        activity = Activity(self.name, description, f"At {stamp():%Y-%m-%dT%H:%M:%SZ} {cause}")
        self.activities.insert(0, activity)
        return activity


@dataclass
class Store:
    """All of Auto Scaling in the lab's account and Region."""

    groups: dict[str, Group] = field(default_factory=dict)
    # IMDS's answers at autoscaling/target-lifecycle-state.
    targets: dict[str, str] = field(default_factory=dict)

    def group(self, name: str | None) -> Group:
        """The group of this name, which must exist and not be pending delete."""
        group = self.described(name)
        if group.deleting:
            raise refused("The AutoScaling group may not be modified while it is pending delete")
        return group

    def described(self, name: str | None) -> Group:
        """The group of this name, which may be pending delete."""
        group = self.groups.get(name or "")
        if group is None:
            raise refused(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return group

    def member(self, instance: str) -> tuple[Group, Member] | None:
        """An instance's group and member."""
        found = ((g, m) for g in self.groups.values() for m in g.members if m.instance == instance)
        return next(found, None)

    def managed(self, instance: str | None) -> tuple[Group, Member]:
        """The same, for an instance that a call names; an error if there is none."""
        found = self.member(instance or "")
        if found is None:
            raise refused(f"Instance Id not found - No managed instance found for instance ID: {instance}")
        return found


def store() -> Store:
    """The present state."""
    backend = instrument.ec2()
    if not hasattr(backend, "auto_scaling"):
        backend.auto_scaling = Store()
    return backend.auto_scaling


def seen() -> Store:
    """The state that Describe calls see, which may be a past one."""
    past = stale.past()
    return getattr(past, "auto_scaling", Store()) if past else store()


def arn(name: str, group_id: str = "*") -> str:
    """A group's ARN; without an ID, with `*` as in policies."""
    return f"arn:{PARTITION}:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{group_id}:autoScalingGroupName/{name}"
