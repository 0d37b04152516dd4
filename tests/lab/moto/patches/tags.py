"""Tags: checks of keys and resources, and a fast lookup of a resource's tags.

EC2 User Guide, "Tag your Amazon EC2 resources" (tag restrictions; "when you delete a resource, its tags are deleted")
and "View tags for your EC2 instances using instance metadata".
"""

import re
from collections.abc import Iterable
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.ec2.models.tags import TagBackend
from moto.ec2.responses.tags import TagResponse
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from patches import errors

_IN_METADATA = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")


def install() -> None:
    """Replaces CreateTags, DeleteTags and the lookup of a resource's tags."""
    TagResponse.create_tags = create_tags
    TagResponse.delete_tags = delete_tags
    TaggedEC2Resource.get_tags = _own_tags
    LaunchTemplateBackend.delete_launch_template = _with_its_tags(LaunchTemplateBackend.delete_launch_template)
    EBSBackend.delete_volume = _with_its_tags(EBSBackend.delete_volume)


def _with_its_tags(inner: Any) -> Any:
    """Deletes a resource's tags with it."""

    def delete(self: Any, *args: Any, **kwargs: Any) -> Any:
        gone = inner(self, *args, **kwargs)
        self.tags.pop(gone.id, None)
        return gone

    return delete


def check(tags: dict[str, str]) -> None:
    """Refuses keys and values that AWS refuses."""
    check_reserved(tags)
    for key, value in tags.items():
        if not 1 <= len(key) <= 127:
            raise errors.invalid_value(f"Tag key exceeds the maximum length of 127 characters: '{key}'")
        if len(value or "") > 256:
            raise errors.invalid_value(f"Tag value exceeds the maximum length of 256 characters: '{value}'")


def check_reserved(keys: Iterable[str]) -> None:
    """Refuses keys that only AWS sets and deletes ("Tag restrictions")."""
    for key in keys:
        if key.lower().startswith("aws:"):
            raise errors.invalid_value(
                f"Value ( {key} ) for parameter key is invalid. "
                "Tag keys starting with 'aws:' are reserved for internal use"
            )


def check_for_metadata(keys: Iterable[str]) -> None:
    """Refuses keys that aren't valid IMDS paths, for instances that show their tags in IMDS."""
    for key in keys:
        if not _IN_METADATA.fullmatch(key) or key in (".", "..", "_index"):
            raise errors.invalid_value(
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')"
            )


def create_tags(self: TagResponse) -> ActionResult:
    """Tags all resources or none; all must exist."""
    resources = self._get_param("Resources", [])
    tags = {tag["Key"]: tag.get("Value") or "" for tag in self._get_param("Tags", [])}
    check(tags)
    for resource in resources:
        _must_exist(self.ec2_backend, resource)
        instance = self.ec2_backend.get_instance_by_id(resource)
        if instance is not None and instance.metadata_options.instance_metadata_tags == "enabled":
            check_for_metadata(tags)
    TagBackend.create_tags(self.ec2_backend, resources, tags)
    return EmptyResult()


def delete_tags(self: TagResponse) -> ActionResult:
    """Without a value, deletes a tag with any value; with an empty one, only if its value is empty. Without tags,
    deletes all but AWS's own."""
    resources = self._get_param("Resources", [])
    tags = {tag["Key"]: tag.get("Value") for tag in self._get_param("Tags", [])}
    check_reserved(tags)
    for resource in resources:
        _must_exist(self.ec2_backend, resource)
        there = self.ec2_backend.tags.get(resource, {})
        gone = tags or {key: None for key in there if not key.startswith("aws:")}
        TagBackend.delete_tags(self.ec2_backend, [resource], gone)
    return EmptyResult()


def _must_exist(backend: Any, resource: str) -> None:
    # moto accepts an unknown instance here.
    if resource.startswith("i-") and backend.get_instance_by_id(resource) is None:
        raise errors.of("InvalidInstanceID.NotFound", f"The instance ID '{resource}' does not exist")
    if resource.startswith("eni-") and resource not in backend.enis:
        raise errors.of("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{resource}' does not exist")
    if get_prefix(resource) is None:
        raise errors.of("InvalidID", f"The ID '{resource}' is not valid")
    backend.do_resources_exist([resource])


def _own_tags(self: TaggedEC2Resource) -> list[dict[str, str]]:
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "") if self.id else ""
    return [
        {"resource_id": self.id, "key": key, "value": value, "resource_type": kind}
        for key, value in self.ec2_backend.tags.get(self.id, {}).items()
    ]
