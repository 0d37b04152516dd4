"""Tags of groups.

Auto Scaling API reference, "CreateOrUpdateTags", "DeleteTags", "DescribeTags", "Tag"; User Guide, "Tag naming and usage
restrictions" (at most 50; the prefix `aws:` is reserved).
"""

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from patches.auto_scaling.model import Group, refused, seen, store


def put(group: Group, tags: list[dict[str, Any]]) -> None:
    """Sets tags of a group."""
    for tag in tags:
        key, value = tag.get("Key") or "", tag.get("Value") or ""
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise refused(f"The tag '{key}' is too long, or has no key")
        if key.lower().startswith("aws:"):
            raise refused(f"The tag key '{key}' is reserved: it may not start with 'aws:'")
        group.tags[key] = (value, str(tag.get("PropagateAtLaunch", False)).lower() == "true")
    if len(group.tags) > 50:
        raise refused("A group has 50 tags at most")


def _by_group(self: AutoScalingResponse) -> list[tuple[Group, dict[str, Any]]]:
    tags = self._get_param("Tags") or []
    for tag in tags:
        if tag.get("ResourceType", "auto-scaling-group") != "auto-scaling-group":
            raise refused("ResourceType must be auto-scaling-group")
    return [(store().group(tag.get("ResourceId")), tag) for tag in tags]


def create_or_update_tags(self: AutoScalingResponse) -> ActionResult:
    """The action; existing instances keep their tags."""
    for group, tag in _by_group(self):
        put(group, [tag])
    return EmptyResult()


def delete_tags(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    for group, tag in _by_group(self):
        group.tags.pop(tag.get("Key", ""), None)
    return EmptyResult()


def described(group: Group) -> list[dict[str, Any]]:
    """A group's tags in the answer's format."""
    return [
        {
            "ResourceId": group.name,
            "ResourceType": "auto-scaling-group",
            "Key": key,
            "Value": value,
            "PropagateAtLaunch": propagate,
        }
        for key, (value, propagate) in sorted(group.tags.items())
    ]


_FILTERS = {
    "auto-scaling-group": lambda tag: tag["ResourceId"],
    "key": lambda tag: tag["Key"],
    "value": lambda tag: tag["Value"],
    "propagate-at-launch": lambda tag: str(tag["PropagateAtLaunch"]).lower(),
}


def describe_tags(self: AutoScalingResponse) -> ActionResult:
    """The action."""
    tags = [tag for group in seen().groups.values() for tag in described(group)]
    for asked in self._get_param("Filters") or []:
        of = _FILTERS.get(asked["Name"])
        if of is None:
            raise refused(f"Filter type {asked['Name']} is not correct. Allowed Filter types are: {list(_FILTERS)}")
        tags = [tag for tag in tags if of(tag) in asked["Values"]]
    return ActionResult({"Tags": tags})
