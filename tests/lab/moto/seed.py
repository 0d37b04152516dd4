"""The lab's fixture: a VPC for a balancer, and resources that Elbow must leave alone.

Its IDs are the same in every lab, from a seeded generator; later IDs are random. It is created through moto's models,
not its API, so that it needs no credentials and is the same with and without patches.
"""

import secrets
from typing import Any

from moto.ec2.models.amis import Ami
from moto.ec2.models.vpcs import VPCEndPoint
from moto.ec2.utils import random_vpc_ep_id
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random
from moto.s3.models import s3_backends
from moto.ssm.models import ssm_backends

import instrument
from constants import ACCOUNT, OTHER_ACCOUNT, PARTITION, REGION

_ADMIN = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}]}'
)
# Addresses of the lab's targets and clients, which no instance gets.
_TAKEN = {"private-a": ["10.0.1.20"], "private-b": ["10.0.2.20"], "clients": ["10.0.3.10", "10.0.3.20"]}

_done: dict[str, Any] | None = None


def seed() -> dict[str, Any]:
    """Creates the fixture at the first call. Returns its names and IDs."""
    global _done
    if _done is None:
        mock_random.seed("the lab's fixture")
        _done = _make()
        mock_random.seed(secrets.randbits(128))
        instrument.changed()
    return _done


def _make() -> dict[str, Any]:
    ec2 = instrument.ec2()
    _forget_default_vpc(ec2)
    vpc = _vpc(ec2, "10.0.0.0/16", "lab")
    subnets, tables = _subnets(ec2, vpc)
    gateway_table, gateway = _gateway(ec2, vpc)
    made = {
        "account": ACCOUNT,
        "region": REGION,
        "operator": _operator(),
        "vpc": vpc.id,
        "subnets": subnets,
        "route_tables": {**tables, "gateway": gateway_table},
        "internet_gateway": gateway,
        "images": _images(ec2),
        "others": _others(ec2, vpc, subnets, tables["private-a"]),
    }
    made["endpoints"] = _endpoints(ec2, vpc, [subnets[name] for name in ("private-a", "private-b", "clients")])
    return made


def _named(name: str) -> list[dict[str, str]]:
    return [{"Key": "Name", "Value": name}]


def _forget_default_vpc(ec2: Any) -> None:
    """Removes the default VPC, so that the lab needn't build it in the kernel."""
    default = ec2.default_vpc.id
    for table in [t.id for t in ec2.route_tables.values() if t.vpc_id == default]:
        del ec2.route_tables[table]
    for zone in ec2.subnets.values():
        zone.clear()
    for acl in [a.id for a in ec2.network_acls.values() if a.vpc_id == default]:
        del ec2.network_acls[acl]
    ec2.groups.pop(default, None)
    del ec2.vpcs[default]


def _vpc(ec2: Any, cidr: str, name: str) -> Any:
    """A VPC with AWS's default security group, which admits traffic between its members; moto's doesn't."""
    vpc = ec2.create_vpc(cidr, tags=_named(name))
    # AWS creates no endpoint with private DNS without it.
    vpc.enable_dns_hostnames = True
    group = ec2.get_default_security_group(vpc.id).id
    ec2.authorize_security_group_ingress(group, "-1", None, None, [], source_groups=[{"GroupId": group}])
    return vpc


def _subnet(ec2: Any, vpc: Any, name: str, cidr: str, zone: str) -> Any:
    subnet = ec2.create_subnet(vpc.id, cidr, availability_zone=f"{REGION}{zone}", tags={"subnet": {"Name": name}})
    subnet.map_public_ip_on_launch = False
    subnet.default_for_az = False
    for address in _TAKEN.get(name, []):
        subnet.request_ip(address, instance=None)
    # AWS reserves the first four addresses of a subnet, moto only three.
    subnet.request_ip(str(subnet.cidr.network_address + 3), instance=None)
    return subnet


def _subnets(ec2: Any, vpc: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Two private subnets with a table each, one for clients with the main table, one shared by another account."""
    private_a = _subnet(ec2, vpc, "private-a", "10.0.1.0/24", "a")
    private_b = _subnet(ec2, vpc, "private-b", "10.0.2.0/24", "b")
    clients = _subnet(ec2, vpc, "clients", "10.0.3.0/24", "c")
    shared = _subnet(ec2, vpc, "shared", "10.0.4.0/24", "b")
    shared.shared_by = OTHER_ACCOUNT
    tables = {}
    for subnet, name in ((private_a, "private-a"), (private_b, "private-b")):
        table = ec2.create_route_table(vpc.id, tags=_named(name))
        ec2.associate_route_table(table.id, subnet_id=subnet.id)
        tables[name] = table.id
    main = next(t for t in ec2.route_tables.values() if t.vpc_id == vpc.id and t.main_association_id)
    tables["main"] = main.id
    return {
        s: i.id
        for s, i in (("private-a", private_a), ("private-b", private_b), ("clients", clients), ("shared", shared))
    }, tables


def _gateway(ec2: Any, vpc: Any) -> tuple[str, str]:
    """An internet gateway with its own table, which can't hold a virtual IP's route."""
    gateway = ec2.create_internet_gateway(tags=_named("lab"))
    ec2.attach_internet_gateway(gateway.id, vpc.id)
    table = ec2.create_route_table(vpc.id, tags=_named("gateway"))
    ec2.associate_route_table(table.id, gateway_id=gateway.id)
    return table.id, gateway.id


def _endpoints(ec2: Any, vpc: Any, subnets: list[str]) -> dict[str, str]:
    """Interface endpoints in each zone: the lab's DNS leads nodes to the API, as an endpoint's private DNS does.

    They have no network interfaces, which the lab would build in the kernel.
    """
    ids = {}
    for service in ("ec2", "autoscaling", "s3"):
        endpoint = VPCEndPoint(
            ec2,
            random_vpc_ep_id(),
            vpc.id,
            f"com.amazonaws.{REGION}.{service}",
            "Interface",
            None,
            [],
            subnet_ids=subnets,
            dns_entries=[],
            private_dns_enabled=True,
        )
        ec2.vpc_end_points[endpoint.id] = endpoint
        ids[service] = endpoint.id
    return ids


def _operator() -> dict[str, str]:
    """The lab's user, who may do everything."""
    iam = iam_backends[ACCOUNT][PARTITION]
    iam.create_user(REGION, "operator")
    iam.put_user_policy("operator", "everything", _ADMIN)
    key = iam.create_access_key("operator")
    return {
        "arn": f"arn:{PARTITION}:iam::{ACCOUNT}:user/operator",
        "access_key_id": key.access_key_id,
        "secret_access_key": key.secret_access_key,
    }


def _images(ec2: Any) -> dict[str, str]:
    """The images and their SSM parameters. The standard Amazon Linux parameter names the main image."""
    ssm = ssm_backends[ACCOUNT][REGION]
    ids = {}
    for key, name, says in (
        ("main", "elbow-debian-12", "Debian 12 with haproxy and keepalived"),
        ("plain", "plain-debian-12", "plain Debian 12"),
        ("arm", "plain-debian-12-arm64", "plain Debian 12 for Graviton"),
        ("next", "elbow-debian-12-next", "a newer build of the main image"),
        ("dnf", "plain-dnf", "plain, with dnf instead of apt-get"),
    ):
        image = Ami(
            ec2,
            f"ami-{mock_random.get_random_hex(17)}",
            name=name,
            description=says,
            owner_id=ACCOUNT,
            virtualization_type="hvm",
            architecture="arm64" if key == "arm" else "x86_64",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name="/dev/xvda",
            region_name=f"{REGION}a",
        )
        ec2.amis[image.id] = image
        ids[key] = image.id
    # moto loads its own parameters at the first lookup, before they are replaced.
    standard = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    ssm.get_parameter(standard)
    for path, image in (
        ("/aws/service/elbow-lab/debian-12", ids["main"]),
        ("/aws/service/elbow-lab/plain-debian-12", ids["plain"]),
        ("/aws/service/elbow-lab/debian-12-arm64", ids["arm"]),
        ("/aws/service/elbow-lab/plain-dnf", ids["dnf"]),
        (standard, ids["main"]),
    ):
        _parameter(ssm, path, image)
    return ids


def _parameter(ssm: Any, path: str, value: str) -> None:
    from moto.ssm.models import Parameter

    parameter = Parameter(
        account_id=ACCOUNT,
        name=path,
        value=value,
        parameter_type="String",
        description=None,
        allowed_pattern=None,
        keyid=None,
        last_modified_date=1700000000,
        version=1,
        data_type="aws:ec2:image",
    )
    ssm._parameters[path] = [parameter]


def _others(ec2: Any, vpc: Any, subnets: dict[str, str], table: str) -> dict[str, Any]:
    """Resources that aren't Elbow's: in this VPC, in IAM, and in another VPC."""
    database = ec2.create_security_group("database", "the database", vpc_id=vpc.id, tags={"Name": "database"})
    ec2.authorize_security_group_ingress(database.id, "tcp", "5432", "5432", [{"CidrIp": "10.0.0.0/16"}])
    appliance = ec2.create_network_interface(
        ec2.get_subnet(subnets["private-b"]),
        "10.0.2.99",
        group_ids=[database.id],
        description="appliance",
        tags={"Name": "other"},
    )
    # Managed by another service, like a load balancer's interface: in use without an instance in this account.
    ec2.get_subnet(subnets["private-b"]).request_ip("10.0.2.99", instance=None)
    appliance.status = "in-use"
    appliance.requester_managed = True
    appliance.source_dest_check = False
    ec2.create_route(table, "10.255.9.9/32", interface_id=appliance.id)
    return {
        "security_group": database.id,
        "interface": appliance.id,
        "route": "10.255.9.9/32",
        **_others_application(ec2),
        **_others_vpc(ec2),
    }


def _others_application(ec2: Any) -> dict[str, str]:
    iam = iam_backends[ACCOUNT][PARTITION]
    iam.create_role("app-role", _TRUST, "/", None, "another application", [], None)
    iam.create_instance_profile("app-role", "/", ["app-role"])
    template = ec2.create_launch_template(
        "app", "1", {"InstanceType": "t3.micro"}, {"launch-template": {"Name": "app"}}
    )
    return {"role": "app-role", "instance_profile": "app-role", "launch_template": template.id}


def _others_vpc(ec2: Any) -> dict[str, str]:
    vpc = _vpc(ec2, "10.9.0.0/16", "elsewhere")
    subnet = _subnet(ec2, vpc, "elsewhere", "10.9.1.0/24", "a")
    return {"vpc": vpc.id, "subnet": subnet.id}


def more_route_tables(count: int) -> list[str]:
    """Adds `count` tables named `extra-N`, without associations, to the lab's VPC. Returns their IDs."""
    ec2 = instrument.ec2()
    vpc = seed()["vpc"]
    have = sum(1 for t in ec2.route_tables.values() if any(g["value"].startswith("extra-") for g in t.get_tags()))
    tables = [ec2.create_route_table(vpc, tags=_named(f"extra-{have + n}")).id for n in range(count)]
    instrument.changed()
    return tables


def foreign_bucket(name: str) -> dict[str, str]:
    """Creates a bucket of another account, which took the name first."""
    s3_backends[OTHER_ACCOUNT][PARTITION].create_bucket(name, REGION)
    return {"account": OTHER_ACCOUNT}
