"""RunInstances: applies or refuses each parameter of a launch template and a request, once per client token.

EC2 API reference, "RunInstances"; EC2 User Guide, "Launch instances using a launch template" (parameters of the
request override the template's, tags are merged), "Ensure idempotency in Amazon EC2 API requests", "Instance user
data" (16 KB before encoding), "View tags for your EC2 instances using instance metadata" (which tag keys are
allowed).
"""

import base64
import ipaddress
import json
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import DryRunClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import convert_tag_spec
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.ssm.models import ssm_backends

from constants import ACCOUNT, PARTITION, REGION
from patches import errors, tags

USER_DATA_LIMIT = 16384
RESOLVE = "resolve:ssm:"
_OVERRIDABLE = (
    "BlockDeviceMappings",
    "ImageId",
    "InstanceType",
    "KeyName",
    "UserData",
    "SecurityGroupIds",
    "SecurityGroups",
    "IamInstanceProfile",
    "NetworkInterfaces",
    "EbsOptimized",
    "Monitoring",
    "Placement",
    "DisableApiTermination",
    "DisableApiStop",
    "InstanceInitiatedShutdownBehavior",
    "InstanceMarketOptions",
)


def install() -> None:
    """Replaces RunInstances."""
    InstanceResponse.run_instances = run_instances
    # It would free an address again when a copy of the state (stale.py) is collected.
    del Instance.__del__


def run_instances(self: InstanceResponse) -> ActionResult:
    """The action."""
    given = {name: value for name, value in dict(self.params).items() if name not in ("ClientToken", "DryRun")}
    return ActionResult(run(self.ec2_backend, given, self._get_param("ClientToken"), self._get_param("DryRun", False)))


def run(backend: Any, given: dict[str, Any], token: str | None = None, dry: bool = False) -> Any:
    """The reservation of the client token if it was used before; otherwise checks, DryRun, launch."""
    if token and not dry and (earlier := _earlier(backend, token, given)):
        return earlier
    wanted, version = with_template(backend, given)
    image = _image(backend, wanted)
    _check(backend, wanted, image)
    profile = _profile(wanted.get("IamInstanceProfile") or {})
    subnet, groups = _network(backend, wanted)
    specified = convert_tag_spec(wanted.get("TagSpecifications") or [])
    for of_kind in specified.values():
        tags.check(of_kind)
    if (wanted.get("MetadataOptions") or {}).get("InstanceMetadataTags") == "enabled":
        tags.check_for_metadata(specified.get("instance", {}))
    if dry:
        raise DryRunClientError()
    has_address = any(one.get("NetworkInterfaceId") for one in wanted.get("NetworkInterfaces") or [])
    if not has_address and subnet.available_ip_address_count < int(wanted.get("MinCount") or 1):
        raise errors.of(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet.id}' for the requested number of instances.",
        )
    reservation = _launch(backend, {**wanted, "ClientToken": token}, version, image, subnet, groups, specified, profile)
    if token:
        backend.run_tokens[token] = (_fingerprint(given), reservation)
    return reservation


def with_template(backend: Any, given: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The request merged with the launch template, and the template's version, if any."""
    named = given.get("LaunchTemplate")
    if not named:
        return given, None
    version = template_of(backend, named).get_version(named.get("Version") or "$Default")
    wanted = dict(given)
    for name in _OVERRIDABLE:
        if not wanted.get(name) and version.data.get(name):
            wanted[name] = version.data[name]
    wanted["MetadataOptions"] = {**(version.data.get("MetadataOptions") or {}), **(given.get("MetadataOptions") or {})}
    wanted["TagSpecifications"] = [
        *(version.data.get("TagSpecifications") or []),
        *(given.get("TagSpecifications") or []),
    ]
    return wanted, version


def template_of(backend: Any, named: dict[str, Any]) -> Any:
    """The launch template with this ID or name."""
    if template_id := named.get("LaunchTemplateId"):
        return backend.get_launch_template(template_id)
    return backend.get_launch_template_by_name(named.get("LaunchTemplateName"))


def _image(backend: Any, wanted: dict[str, Any]) -> Any:
    image_id = wanted.get("ImageId")
    if not image_id:
        raise errors.missing("ImageId")
    if image_id.startswith(RESOLVE):
        parameter = ssm_backends[ACCOUNT][REGION].get_parameter(image_id.removeprefix(RESOLVE))
        if parameter is None:
            raise errors.invalid_value(f"The parameter {image_id.removeprefix(RESOLVE)} does not exist.")
        image_id = parameter.value
    # A deregistered image is missing from the answer.
    found = backend.describe_images(ami_ids=[image_id])
    if not found:
        raise errors.of("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return found[0]


def _check(backend: Any, wanted: dict[str, Any], image: Any) -> None:
    kind = wanted.get("InstanceType") or "m1.small"
    if kind not in INSTANCE_TYPES:
        raise errors.invalid_value(f"Invalid value '{kind}' for InstanceType.")
    architectures = INSTANCE_TYPES[kind]["ProcessorInfo"]["SupportedArchitectures"]
    if image.architecture not in architectures:
        raise errors.invalid_value(
            f"The architecture '{','.join(architectures)}' of the specified instance type does not match the "
            f"architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have "
            "matching architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to "
            "discover the architecture of the instance type or AMI."
        )
    check_user_data(wanted.get("UserData"))


def check_user_data(encoded: Any) -> None:
    """Refuses user data of more than 16 KB before base64."""
    if encoded is not None and len(base64.b64decode(str(encoded))) > USER_DATA_LIMIT:
        raise errors.invalid_value(f"User data is limited to {USER_DATA_LIMIT} bytes")


def _profile(named: dict[str, str]) -> Any | None:
    """The instance profile. Unknown and empty ones get EC2's errors, on which callers retry."""
    if not (named.get("Arn") or named.get("Name")):
        return None
    iam = iam_backends[ACCOUNT][PARTITION]
    try:
        if arn := named.get("Arn"):
            profile = iam.get_instance_profile_by_arn(arn)
        else:
            profile = iam.get_instance_profile(named["Name"])
    except NotFoundException:
        key = "arn" if "Arn" in named else "name"
        value = named.get("Arn") or named.get("Name")
        raise errors.invalid_value(
            f"Value ({value}) for parameter iamInstanceProfile.{key} is invalid. Invalid IAM Instance Profile {key}"
        ) from None
    if not profile.roles:
        raise errors.invalid_value(f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles')
    return profile


def _network(backend: Any, wanted: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The first interface's subnet and security groups, which must be in one VPC."""
    first = next((n for n in wanted.get("NetworkInterfaces") or [] if int(n.get("DeviceIndex") or 0) == 0), {})
    subnet_id = wanted.get("SubnetId") or first.get("SubnetId")
    if existing := first.get("NetworkInterfaceId"):
        eni = backend.get_network_interface(existing)
        return eni.subnet, list(eni.group_set)
    if subnet_id is None:
        raise errors.of("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
    if wanted.get("SubnetId") and first:
        raise errors.of(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID may not be specified on the same request",
        )
    if wanted.get("SecurityGroups"):
        raise errors.of(
            "InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet"
        )
    subnet = backend.get_subnet(subnet_id)
    ids = first.get("Groups") or wanted.get("SecurityGroupIds") or []
    groups = [backend.get_security_group_from_id(i) for i in ids]
    for group_id, group in zip(ids, groups, strict=True):
        if group is None:
            raise errors.of("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
        if group.vpc_id != subnet.vpc_id:
            raise errors.of(
                "InvalidParameter", f"Security group {group.id} and subnet {subnet.id} belong to different networks."
            )
    if address := wanted.get("PrivateIpAddress"):
        _check_address(subnet, address)
    return subnet, groups or [backend.get_default_security_group(subnet.vpc_id)]


def _check_address(subnet: Any, address: str) -> None:
    if ipaddress.ip_address(address) not in subnet.cidr:
        raise errors.invalid_value(f"Address does not fall within the subnet's address range: {address}")
    if address in subnet._subnet_ips:
        raise errors.of("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _fingerprint(given: dict[str, Any]) -> str:
    return json.dumps(given, sort_keys=True, default=str)


def _earlier(backend: Any, token: str, given: dict[str, Any]) -> Any | None:
    """The token's earlier reservation. Other arguments and terminated instances are errors."""
    if not hasattr(backend, "run_tokens"):
        backend.run_tokens = {}
    if token not in backend.run_tokens:
        return None
    fingerprint, reservation = backend.run_tokens[token]
    if fingerprint != _fingerprint(given):
        raise errors.of(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
    if all(instance.state in ("shutting-down", "terminated") for instance in reservation.instances):
        raise errors.of(
            "IdempotentInstanceTerminated",
            "The client token you have provided is associated with a resource that is already deleted.",
        )
    return reservation


def _launch(
    backend: Any,
    wanted: dict[str, Any],
    version: Any,
    image: Any,
    subnet: Any,
    groups: list[Any],
    specified: dict[str, dict[str, str]],
    profile: Any | None,
) -> Any:
    interfaces = wanted.get("NetworkInterfaces") or []
    template = {"LaunchTemplateId": version.template.id, "Version": str(version.number)} if version else {}
    # With the root device's name among them, moto's own root volume would be a second one.
    mapped = wanted.get("BlockDeviceMappings") or []
    replaces_root = any(one.get("DeviceName") == image.root_device_name for one in mapped)
    reservation = InstanceBackend.run_instances(
        backend,
        image.id,
        int(wanted.get("MaxCount") or 1),
        wanted.get("UserData"),
        [],
        instance_type=wanted.get("InstanceType") or "m1.small",
        is_instance_type_default=False,
        region_name=REGION,
        subnet_id=None if interfaces else subnet.id,
        key_name=wanted.get("KeyName"),
        security_group_ids=[] if interfaces else [group.id for group in groups],
        nics=interfaces,
        private_ip=wanted.get("PrivateIpAddress"),
        associate_public_ip=False,
        tags=specified,
        launch_template=template,
        metadata_options=wanted.get("MetadataOptions") or {},
        client_token=wanted["ClientToken"],
        instance_initiated_shutdown_behavior=wanted.get("InstanceInitiatedShutdownBehavior"),
        disable_api_stop=bool(wanted.get("DisableApiStop")),
        disable_api_termination=bool(wanted.get("DisableApiTermination")),
        monitoring_state="enabled" if (wanted.get("Monitoring") or {}).get("Enabled") else "disabled",
        **({"block_device_mappings": mapped} if replaces_root else {}),
    )
    for instance in reservation.instances:
        _finish(backend, instance, groups, bool(interfaces), specified, profile)
    return reservation


def _finish(
    backend: Any,
    instance: Any,
    groups: list[Any],
    own_interfaces: bool,
    specified: dict[str, dict[str, str]],
    profile: Any | None,
) -> None:
    """Sets what moto omits, or sets only on the first instance."""
    instance.hypervisor = "xen"
    instance.security_groups = groups
    for eni in instance.nics.values():
        eni.add_tags(specified.get("network-interface", {}))
        if not own_interfaces:
            eni.delete_on_termination = True
            eni._group_set = list(groups)
    if profile is not None:
        backend.associate_iam_instance_profile(instance.id, iam_instance_profile_arn=profile.arn)
        instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}
