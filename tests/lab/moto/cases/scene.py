"""The setup of cases: each has its own VPC, security group and names, so that cases don't affect each other."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

_numbers = itertools.count(1)

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)


class Scene:
    """A VPC with one subnet, and clients."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.number = next(_numbers)
        self.ec2 = server.client("ec2")
        self.iam = server.client("iam")
        self.name = f"case-{self.number}"
        self.image = server.seed["images"]["main"]
        self.vpc = self.ec2.create_vpc(CidrBlock="10.50.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.50.1.0/24", AvailabilityZone="eu-west-1a")[
            "Subnet"
        ]["SubnetId"]
        self.table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]

    def group(self, name: str = "members") -> str:
        """Creates a security group."""
        return self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]

    def run(self, **more: Any) -> list[dict[str, Any]]:
        """Launches instances in the subnet."""
        asked = {
            "ImageId": self.image,
            "InstanceType": "t3.small",
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": self.subnet,
        }
        return self.ec2.run_instances(**{k: v for k, v in {**asked, **more}.items() if v is not None})["Instances"]

    def instance(self, instance_id: str) -> dict[str, Any]:
        """An instance's current description."""
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def end(self, *instances: dict[str, Any]) -> None:
        """Terminates instances and waits for that."""
        ids = [instance["InstanceId"] for instance in instances]
        self.ec2.terminate_instances(InstanceIds=ids)
        deadline = time.monotonic() + 10
        while any(self.instance(i)["State"]["Name"] != "terminated" for i in ids):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ids}: not terminated in time")

    def interface(self, instance: dict[str, Any]) -> str:
        """The ID of an instance's first interface."""
        return instance["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def routes(self) -> dict[str, dict[str, Any]]:
        """The table's routes by destination."""
        table = self.ec2.describe_route_tables(RouteTableIds=[self.table])["RouteTables"][0]
        return {route["DestinationCidrBlock"]: route for route in table["Routes"]}

    def route_to(self, interface: str, destination: str = "10.255.0.10/32") -> dict[str, str]:
        """The arguments of CreateRoute and ReplaceRoute."""
        return {"RouteTableId": self.table, "DestinationCidrBlock": destination, "NetworkInterfaceId": interface}

    def profile(self, *statements: dict[str, Any]) -> str:
        """Creates a role with these statements and an instance profile of the same name."""
        self.iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=TRUST)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            self.iam.put_role_policy(RoleName=self.name, PolicyName="it", PolicyDocument=document)
        self.iam.create_instance_profile(InstanceProfileName=self.name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=self.name, RoleName=self.name)
        return self.name

    def as_node(self, *statements: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Any]:
        """An instance with a role of these statements, and an EC2 client with its credentials."""
        profile = self.profile(*statements)
        instance = self.run(IamInstanceProfile={"Name": profile}, **more)[0]
        credentials = self.server.post("role-credentials", {"instance": instance["InstanceId"]})
        return instance, self.server.client("ec2", credentials)


@contextlib.contextmanager
def refused(code: str, status: int = 400, says: str = "") -> Iterator[None]:
    """Asserts that the call inside is refused with this code, HTTP status and text."""
    try:
        yield
    except ClientError as error:
        answer = error.response
    else:
        raise AssertionError(f"not refused with {code}")
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert says in answer["Error"]["Message"]
