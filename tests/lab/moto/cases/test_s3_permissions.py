"""Policies on calls to S3, with a node's credentials. Pages are named in patches/s3/operations.py and admission.py."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cases.scene import Scene, refused

HERE = {"LocationConstraint": "eu-west-1"}
_BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
_ENCRYPTED = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
_OWNED = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
_TAGS = {"TagSet": [{"Key": "team", "Value": "edge"}]}
_numbers = itertools.count(1)


def _bucket(server: Any, *keys: str) -> str:
    """A new bucket with these objects."""
    name = f"elbow-policies-{next(_numbers)}"
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=HERE)
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=b"agent")
    return name


def _node(server: Any, *statements: dict[str, Any]) -> Any:
    """An S3 client with a node's credentials."""
    instance, _ = Scene(server).as_node(*statements)
    return server.client("s3", server.post("role-credentials", {"instance": instance["InstanceId"]}))


def _allow(*actions: str, resource: str | list[str] = "*", **condition: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


# For each action: a call that needs it, and whether the action is on the bucket's objects.
_CALLS: dict[str, tuple[Callable[[Any, str], Any], bool]] = {
    "s3:GetObject": (lambda s3, b: s3.get_object(Bucket=b, Key="agent/1"), True),
    "s3:PutObject": (lambda s3, b: s3.put_object(Bucket=b, Key="agent/2", Body=b"agent"), True),
    "s3:DeleteObject": (lambda s3, b: s3.delete_object(Bucket=b, Key="agent/1"), True),
    "s3:ListBucket": (lambda s3, b: s3.list_objects_v2(Bucket=b), False),
    "s3:CreateBucket": (lambda s3, b: s3.create_bucket(Bucket=f"{b}-new", CreateBucketConfiguration=HERE), False),
    "s3:DeleteBucket": (lambda s3, b: s3.delete_bucket(Bucket=b), False),
    "s3:GetBucketLocation": (lambda s3, b: s3.get_bucket_location(Bucket=b), False),
    "s3:PutBucketTagging": (lambda s3, b: s3.put_bucket_tagging(Bucket=b, Tagging=_TAGS), False),
    "s3:PutEncryptionConfiguration": (
        lambda s3, b: s3.put_bucket_encryption(Bucket=b, ServerSideEncryptionConfiguration=_ENCRYPTED),
        False,
    ),
    "s3:PutBucketOwnershipControls": (
        lambda s3, b: s3.put_bucket_ownership_controls(Bucket=b, OwnershipControls=_OWNED),
        False,
    ),
    "s3:PutBucketPublicAccessBlock": (
        lambda s3, b: s3.put_public_access_block(Bucket=b, PublicAccessBlockConfiguration=_BLOCKED),
        False,
    ),
}


@pytest.mark.parametrize("action", list(_CALLS))
def test_an_action_is_needed_and_enough(patched: Any, action: str) -> None:
    call, on_objects = _CALLS[action]
    # DeleteBucket needs an empty bucket.
    bucket = _bucket(patched, *([] if action == "s3:DeleteBucket" else ["agent/1"]))
    resource = f"arn:aws:s3:::{bucket}/agent/*" if on_objects else f"arn:aws:s3:::{bucket}*"
    others = [other for other in _CALLS if other != action]
    said = f'is not authorized to perform: {action} on resource: "arn:aws:s3:::{bucket}'
    with refused("AccessDenied", 403, says=said):
        call(_node(patched, _allow(*others)), bucket)
    with refused("AccessDenied", 403, says=said):
        call(_node(patched, _allow(action, resource="arn:aws:s3:::elbow-other*")), bucket)
    call(_node(patched, _allow(action, resource=resource)), bucket)


def test_a_bucket_with_an_object_ownership_needs_a_second_permission(patched: Any) -> None:
    create = {
        "Bucket": f"elbow-policies-{next(_numbers)}",
        "CreateBucketConfiguration": HERE,
        "ObjectOwnership": "BucketOwnerEnforced",
    }
    with refused("AccessDenied", 403, says="s3:PutBucketOwnershipControls"):
        _node(patched, _allow("s3:CreateBucket")).create_bucket(**create)
    _node(patched, _allow("s3:CreateBucket", "s3:PutBucketOwnershipControls")).create_bucket(**create)


def objects_can_be_limited_to_an_accounts_buckets(server: Any) -> Iterator[None]:
    """Condition key s3:ResourceAccount."""
    bucket = _bucket(server, "agent/1")
    resource = f"arn:aws:s3:::{bucket}/agent/1"
    read = {"Bucket": bucket, "Key": "agent/1"}
    account = server.seed["account"]
    ours = _node(server, _allow("s3:GetObject", resource=resource, StringEquals={"s3:ResourceAccount": account}))
    theirs = _node(server, _allow("s3:GetObject", resource=resource, StringEquals={"s3:ResourceAccount": "2109"}))
    ours.get_object(**read)
    yield
    with refused("AccessDenied", 403):
        theirs.get_object(**read)


def a_missing_object_is_not_found_only_with_list_bucket(server: Any) -> Iterator[None]:
    """GetObject, HeadObject: without s3:ListBucket, a missing object is AccessDenied."""
    bucket = _bucket(server)
    objects = _allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    listing = _node(server, objects, _allow("s3:ListBucket", resource=f"arn:aws:s3:::{bucket}"))
    reading = _node(server, objects)
    with refused("NoSuchKey", 404):
        listing.get_object(Bucket=bucket, Key="missing")
    with refused("404", 404):
        listing.head_object(Bucket=bucket, Key="missing")
    yield
    with refused("AccessDenied", 403, says=f's3:ListBucket on resource: "arn:aws:s3:::{bucket}"'):
        reading.get_object(Bucket=bucket, Key="missing")
    with refused("403", 403):
        reading.head_object(Bucket=bucket, Key="missing")


def each_of_many_deleted_objects_needs_the_permission(server: Any) -> Iterator[None]:
    """DeleteObjects: AccessDenied for each key that the caller may not delete."""
    bucket = _bucket(server, "agent/1", "agent/2")
    node = _node(server, _allow("s3:DeleteObject", resource=f"arn:aws:s3:::{bucket}/agent/1"))
    yield
    answer = node.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "agent/1"}, {"Key": "agent/2"}]})
    assert [deleted["Key"] for deleted in answer["Deleted"]] == ["agent/1"]
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [("agent/2", "AccessDenied")]
    kept = server.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in kept] == ["agent/2"]
