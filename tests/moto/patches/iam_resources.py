"""IAM: a managed policy isn't deleted while something has it.

IAM API reference, "DeletePolicy" (DeleteConflict: "detach the policy from all users, groups, and roles that the policy is attached to").
"""

from typing import Any

from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend


def install() -> None:
    """Wraps DeletePolicy."""
    inner = IAMBackend.delete_policy

    def delete_policy(self: Any, policy_arn: str) -> None:
        if self.get_policy(policy_arn).attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        inner(self, policy_arn)

    IAMBackend.delete_policy = delete_policy
