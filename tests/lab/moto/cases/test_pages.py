"""Describe calls in pages: MaxResults and NextToken, as in the EC2 API reference of each call."""

from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused


def _in_pages(call: Any, key: str, size: int, **arguments: Any) -> list[list[Any]]:
    """All pages of a call."""
    pages: list[list[Any]] = []
    token: dict[str, str] = {}
    while not pages or token:
        answer = call(MaxResults=size, **arguments, **token)
        pages.append(answer[key])
        token = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
    return pages


def _here(s: Scene) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": [s.vpc]}]


def route_tables_come_in_pages(server: Any) -> Iterator[None]:
    """DescribeRouteTables."""
    s = Scene(server)
    for _ in range(7):
        s.ec2.create_route_table(VpcId=s.vpc)
    yield
    pages = _in_pages(s.ec2.describe_route_tables, "RouteTables", 5, Filters=_here(s))
    # Including the VPC's main table and the scene's table.
    assert [len(page) for page in pages] == [5, 4]
    assert len({table["RouteTableId"] for page in pages for table in page}) == 9


def no_more_than_a_hundred_route_tables_come_at_once(server: Any) -> Iterator[None]:
    """DescribeRouteTables, MaxResults: 5 to 100."""
    s = Scene(server)
    yield
    for size in (4, 101):
        with refused("InvalidParameterValue", says=str(size)):
            s.ec2.describe_route_tables(MaxResults=size)


def security_groups_come_in_pages(server: Any) -> Iterator[None]:
    """DescribeSecurityGroups."""
    s = Scene(server)
    for number in range(6):
        s.group(f"group-{number}")
    yield
    pages = _in_pages(s.ec2.describe_security_groups, "SecurityGroups", 5, Filters=_here(s))
    # Including the VPC's default group.
    assert [len(page) for page in pages] == [5, 2]


def versions_of_launch_templates_come_in_pages(server: Any) -> Iterator[None]:
    """DescribeLaunchTemplateVersions."""
    s = Scene(server)
    data = {"ImageId": s.image}
    s.ec2.create_launch_template(LaunchTemplateName=s.name, LaunchTemplateData=data)
    for _ in range(2):
        s.ec2.create_launch_template_version(LaunchTemplateName=s.name, LaunchTemplateData=data)
    yield
    call = s.ec2.describe_launch_template_versions
    pages = _in_pages(call, "LaunchTemplateVersions", 2, LaunchTemplateName=s.name)
    assert [len(page) for page in pages] == [2, 1]


def a_request_with_ids_has_no_pages(server: Any) -> Iterator[None]:
    """DescribeNetworkInterfaces and DescribeVolumes, MaxResults: not together with IDs."""
    s = Scene(server)
    interface = s.interface(s.run()[0])
    volume = s.ec2.create_volume(AvailabilityZone="eu-west-1a", Size=1)["VolumeId"]
    yield
    with refused("InvalidParameterCombination"):
        s.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface], MaxResults=5)
    with refused("InvalidParameterCombination"):
        s.ec2.describe_volumes(VolumeIds=[volume], MaxResults=5)
    with refused("InvalidParameterCombination"):
        s.ec2.describe_instances(InstanceIds=[s.run()[0]["InstanceId"]], MaxResults=5)


def peerings_and_endpoints_come_in_pages(server: Any) -> Iterator[None]:
    """DescribeVpcPeeringConnections, DescribeVpcEndpoints."""
    s = Scene(server)
    for number in range(6):
        peer = s.ec2.create_vpc(CidrBlock=f"10.6{number}.0.0/16")["Vpc"]["VpcId"]
        s.ec2.create_vpc_peering_connection(VpcId=s.vpc, PeerVpcId=peer)
        service = f"com.amazonaws.eu-west-1.service-{number}"
        s.ec2.create_vpc_endpoint(VpcId=s.vpc, ServiceName=service, VpcEndpointType="Interface")
    yield
    ours = [{"Name": "requester-vpc-info.vpc-id", "Values": [s.vpc]}]
    pages = _in_pages(s.ec2.describe_vpc_peering_connections, "VpcPeeringConnections", 5, Filters=ours)
    assert [len(page) for page in pages] == [5, 1]
    pages = _in_pages(s.ec2.describe_vpc_endpoints, "VpcEndpoints", 5, Filters=_here(s))
    assert [len(page) for page in pages] == [5, 1]


def transit_gateways_attachments_and_tables_come_in_pages(server: Any) -> Iterator[None]:
    """DescribeTransitGatewayAttachments, DescribeTransitGatewayRouteTables."""
    s = Scene(server)
    gateways = [s.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"] for _ in range(6)]
    for gateway in gateways:
        s.ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=gateway, VpcId=s.vpc, SubnetIds=[s.subnet])
    yield
    mine = [{"Name": "resource-id", "Values": [s.vpc]}]
    pages = _in_pages(s.ec2.describe_transit_gateway_attachments, "TransitGatewayAttachments", 5, Filters=mine)
    assert [len(page) for page in pages] == [5, 1]
    theirs = [{"Name": "transit-gateway-id", "Values": gateways}]
    pages = _in_pages(s.ec2.describe_transit_gateway_route_tables, "TransitGatewayRouteTables", 5, Filters=theirs)
    # Each gateway's default table.
    assert [len(page) for page in pages] == [5, 1]
