"""Issues an instance's temporary credentials: a session of its role, named after the instance as on AWS."""

import json
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

import instrument
import world
from constants import ACCOUNT, PARTITION, REGION


def of_instance(instance_id: str, seconds: int) -> dict[str, Any]:
    """New credentials of the instance's role, valid for `seconds`. Raises LookupError if it has no role."""
    instance = instrument.ec2().get_instance_by_id(instance_id)
    if instance is None:
        raise LookupError(f"{instance_id}: no such instance")
    role_name = world.role_of((instance.iam_instance_profile or {}).get("Arn"))
    if role_name is None:
        raise LookupError(f"{instance_id}: no role")
    role = iam_backends[ACCOUNT][PARTITION].get_role(role_name)
    if not _trusts_ec2(role):
        raise LookupError(f"role {role_name}: doesn't trust ec2.amazonaws.com")
    assumed = sts_backends[ACCOUNT][PARTITION].assume_role(
        region_name=REGION,
        role_session_name=instance_id,
        role_arn=role.arn,
        policy="",
        duration=seconds,
        external_id="",
    )
    return {
        "AccessKeyId": assumed.access_key_id,
        "SecretAccessKey": assumed.secret_access_key,
        "Token": assumed.session_token,
        "Expiration": assumed.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _trusts_ec2(role: Any) -> bool:
    statements = json.loads(role.assume_role_policy_document)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement["Effect"] == "Allow" and "ec2.amazonaws.com" in (
            [services] if isinstance(services, str) else services
        ):
            return True
    return False
