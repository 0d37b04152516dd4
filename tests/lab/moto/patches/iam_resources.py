"""IAM's limits: names of resources, the size of a role's policies, and deletion of attached policies.

IAM API reference, "DeletePolicy" (DeleteConflict: "detach the policy from all users, groups, and roles that the
policy is attached to"), "CreateRole" and "CreateInstanceProfile" (names of 64 and 128 characters); IAM User Guide,
"IAM and AWS STS quotas" (inline policies of a role together: 10,240 characters without white space) and "IAM
identifiers" (AIPA… for an instance profile).
"""

import re
from typing import Any

from moto.iam.exceptions import DeleteConflictException, IAMException
from moto.iam.models import IAMBackend
from moto.moto_api._internal import mock_random

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_ROLE_POLICIES = 10240


def install() -> None:
    """Wraps the methods that create and delete."""
    _delete_policy()
    _put_role_policy()
    _create("create_role", "roleName", 64)
    _create("create_instance_profile", "instanceProfileName", 128)


def _delete_policy() -> None:
    inner = IAMBackend.delete_policy

    def delete_policy(self: Any, policy_arn: str) -> None:
        if self.get_policy(policy_arn).attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        inner(self, policy_arn)

    IAMBackend.delete_policy = delete_policy


def _put_role_policy() -> None:
    inner = IAMBackend.put_role_policy

    def put_role_policy(self: Any, role_name: str, policy_name: str, policy_json: str) -> None:
        policies = {**self.get_role(role_name).policies, policy_name: policy_json}
        if sum(len(re.sub(r"\s", "", text)) for text in policies.values()) > _ROLE_POLICIES:
            raise IAMException(
                "LimitExceeded", f"Maximum policy size of {_ROLE_POLICIES} bytes exceeded for role {role_name}"
            )
        inner(self, role_name, policy_name, policy_json)

    IAMBackend.put_role_policy = put_role_policy


def _create(name: str, member: str, longest: int) -> None:
    inner = getattr(IAMBackend, name)

    def create(self: Any, *rest: Any, **more: Any) -> Any:
        called = rest[0] if rest else more.get("name") or more.get("role_name")
        trouble = None
        if len(called) > longest:
            trouble = f"Member must have length less than or equal to {longest}"
        elif not _NAME.fullmatch(called):
            trouble = "Member must satisfy regular expression pattern: [\\w+=,.@-]+"
        if trouble:
            raise IAMException(
                "ValidationError",
                f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {trouble}",
            )
        made = inner(self, *rest, **more)
        if name == "create_instance_profile":
            made.id = "AIPA" + mock_random.get_random_string(17).upper()
        return made

    setattr(IAMBackend, name, create)
