//! Problems that `doctor` finds and an operator can overlook: `create` refuses them by name, goes on with `--despite`, and
//! `create` again and `destroy` work. Also the refusals of AWS that no check can foresee.

use std::path::Path;

use lab::api::Failing;

use crate::doctor::{examined, ids, name};
use crate::rig::{Rig, mutating, refused, succeeded, text};

/// `doctor` finds this problem and no other, and `create` refuses it with these words. Overlooked on purpose, `create`
/// warns of it and goes on; `create` again changes nothing.
#[track_caller]
fn overlooked(rig: &Rig, file: &Path, id: &str, words: &[&str]) {
    let (code, findings) = examined(rig, name(file));
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec![id]), "{findings:?}");
    let (finding, despite) = (format!("{id}: "), format!("--despite {id}"));
    refused(rig, &["create", name(file), "--no-wait"], &[&[finding.as_str(), &despite][..], words].concat());
    let output = succeeded(rig.launcher(["create", name(file), "--no-wait", "--despite", id]));
    let warning = format!("warning: {id}: ");
    assert!(text(&output.stderr).contains(&warning), "{}", text(&output.stderr));
    assert_eq!(rig.nodes().len(), 2);
    rig.take_calls();
    let again = text(&rig.create(file).stderr);
    assert!(again.contains(&warning), "{again}");
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}

/// `doctor` finds no problem.
#[track_caller]
fn sound(rig: &Rig, subject: &str) {
    let (code, findings) = examined(rig, subject);
    assert_eq!((code, ids(&findings, "problem")), (Some(0), vec![]), "{findings:?}");
}

#[test]
fn endpoints_that_nodes_cannot_use_are_refused_by_name_and_can_be_overlooked() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    let (ec2, database) = (seed.endpoints["ec2"].as_str(), seed.others["security_group"].as_str().expect("an id"));
    let web = rig.web();
    let group = ["--add-security-group-ids", database];
    rig.aws(&[&["ec2", "modify-vpc-endpoint", "--vpc-endpoint-id", ec2][..], &group].concat());
    overlooked(&rig, &web, "endpoint-groups", &[ec2, "doesn't admit the nodes", &format!("in {database}")]);
    rig.destroy();
    let admit = ["--protocol", "tcp", "--port", "443", "--cidr", "10.0.0.0/16"];
    rig.aws(&[&["ec2", "authorize-security-group-ingress", "--group-id", database][..], &admit].concat());
    sound(&rig, name(&web));

    let names = |option: &str| rig.aws(&["ec2", "modify-vpc-attribute", "--vpc-id", &seed.vpc, option]);
    names("--no-enable-dns-hostnames");
    overlooked(&rig, &web, "vpc-dns", &[ec2, "enableDnsHostnames off", "--enable-dns-hostnames"]);
    rig.destroy();
    names("--enable-dns-hostnames");
    sound(&rig, name(&web));

    rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &seed.endpoints["autoscaling"]]);
    overlooked(&rig, &rig.grouped(), "auto-scaling-api", &["has no way to the Auto Scaling API", "for autoscaling in"]);
    rig.destroy();
    sound(&rig, name(&web));

    // The agent in S3, which a gateway endpoint leads to, too.
    let stored = rig.file("stored.toml", &rig.example().replace("https://example.com/agent", "s3://artifacts/agent"));
    sound(&rig, name(&stored));
    rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &seed.endpoints["s3"]]);
    overlooked(&rig, &stored, "subnet-s3", &["has no way to S3", "a gateway endpoint for s3 to its route table"]);
    rig.destroy();
    let service = format!("com.amazonaws.{}.s3", seed.region);
    let gateway = ["ec2", "create-vpc-endpoint", "--vpc-id", &seed.vpc, "--service-name", &service];
    let tables = ["--route-table-ids", &seed.route_tables["private-a"], &seed.route_tables["private-b"]];
    rig.aws(&[&gateway[..], &tables].concat());
    sound(&rig, name(&stored));
}

#[test]
fn a_full_subnet_is_refused_by_name_and_create_can_be_repeated_when_it_has_room() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    let made = |arguments: &[&str], id: &str| rig.aws(&[arguments, &["--output", "text", "--query", id]].concat());
    let zone = format!("{}a", seed.region);
    let subnet = ["--cidr-block", "10.0.9.0/28", "--availability-zone", &zone];
    let subnet = made(&[&["ec2", "create-subnet", "--vpc-id", &seed.vpc][..], &subnet].concat(), "Subnet.SubnetId");
    let file = rig.file("web.toml", &rig.example().replace(&seed.subnets["private-a"], &subnet));
    sound(&rig, name(&file));
    // All that AWS doesn't reserve.
    let addresses: Vec<String> =
        (4..15).map(|last| format!("PrivateIpAddress=10.0.9.{last},Primary={}", last == 4)).collect();
    let interface = ["ec2", "create-network-interface", "--subnet-id", &subnet, "--private-ip-addresses"];
    let all: Vec<&str> = interface.into_iter().chain(addresses.iter().map(String::as_str)).collect();
    let interface = made(&all, "NetworkInterface.NetworkInterfaceId");

    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["subnet-addresses"]), "{findings:?}");
    let despite = ["create", name(&file), "--no-wait", "--despite", "subnet-addresses"];
    refused(&rig, &despite[..3], &["subnet-addresses: ", &subnet, "--despite subnet-addresses"]);
    let output = rig.launcher(despite);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let fails = format!("ec2:RunInstances {subnet}: InsufficientFreeAddressesInSubnet: ");
    assert!(said.contains("warning: subnet-addresses: ") && said.contains(&fails), "{said}");
    rig.aws(&["ec2", "delete-network-interface", "--network-interface-id", &interface]);
    rig.create(&file);
    assert_eq!(rig.nodes().len(), 2);
    sound(&rig, "web");
    rig.destroy();
}

/// Adds routes to a table until it has so many.
fn fill(rig: &Rig, table: &str, routes: usize) {
    let script = r#"
import sys, boto3
ec2, (table, interface, routes) = boto3.client("ec2"), sys.argv[1:]
there = len(ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"])
for n in range(there, int(routes)):
    ec2.create_route(RouteTableId=table, NetworkInterfaceId=interface, DestinationCidrBlock=f"172.{16 + n // 256}.{n % 256}.0/24")
"#;
    let interface = rig.api.seed().others["interface"].as_str().expect("an id");
    rig.python(&["-c", script, table, interface, &routes.to_string()]);
}

#[test]
fn tables_with_many_routes_are_found_before_one_is_full() {
    let rig = Rig::new();
    let (file, table) = (rig.web(), rig.api.seed().route_tables["private-a"].clone());
    fill(&rig, &table, 50);
    let (_, findings) = examined(&rig, name(&file));
    assert!(ids(&findings, "unknown").contains(&"routes-per-table"), "{findings:?}");
    fill(&rig, &table, 500);
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "warning")), (Some(0), vec!["routes-per-table"]), "{findings:?}");
    let said = text(&rig.create(&file).stderr);
    let warning = format!(
        "warning: routes-per-table: with the virtual IPs' routes, these tables have many routes: {table} (501)"
    );
    assert!(said.contains(&warning), "{said}");
    rig.destroy();
}

#[test]
fn another_revision_that_runs_is_a_warning() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let other = rig.file("other.toml", &rig.example().replace("10.0.1.20:8080", "10.0.1.21:8080"));
    let (code, findings) = examined(&rig, name(&other));
    assert_eq!((code, ids(&findings, "warning")), (Some(0), vec!["running-revision"]), "{findings:?}");
    refused(&rig, &["create", name(&other), "--no-wait"], &["launcher update"]);
    rig.destroy();
}

#[test]
fn more_rules_than_the_default_quota_are_a_warning() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    for cidr in ["10.20.0.0/16", "10.30.0.0/16"] {
        rig.aws(&["ec2", "associate-vpc-cidr-block", "--vpc-id", &seed.vpc, "--cidr-block", cidr]);
    }
    // One rule for each of the ports and of the VPC's networks: offline, their number isn't known.
    let example = rig.example();
    let (head, _) = example.split_once("[[listener]]").expect("the example has a listener");
    let listener = |port: usize| {
        format!(
            "[[listener]]\nname = \"l{port}\"\nport = {port}\nprotocol = \"tcp\"\ntargets = [\"10.0.1.20:8080\"]\n\n"
        )
    };
    let listeners: String = (0..20).map(|n| listener(1000 + 2 * n)).collect();
    let file = rig.file("many.toml", &(head.to_owned() + &listeners));
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "warning")), (Some(0), vec!["security-group-rules"]), "{findings:?}");
    let said = text(&succeeded(rig.launcher(["create", name(&file), "--dry-run"])).stdout);
    assert!(said.contains("the security group needs 63 rules"), "{said}");
}

#[test]
fn a_launch_beyond_a_quota_fails_by_its_name_and_create_can_be_repeated() {
    let rig = Rig::new();
    let file = rig.web();
    let (_, findings) = examined(&rig, name(&file));
    assert!(ids(&findings, "unknown").contains(&"vcpu-quota"), "{findings:?}");
    let limit = |left| {
        let (action, code) = ("RunInstances".to_owned(), "VcpuLimitExceeded".to_owned());
        rig.api.proxy().set_failing(Failing { action, code, left, zone: None });
    };
    limit(100);
    let output = rig.launcher(["create", name(&file), "--no-wait"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ec2:RunInstances") && said.contains("VcpuLimitExceeded"), "{said}");
    limit(0);
    rig.create(&file);
    assert_eq!(rig.nodes().len(), 2);
    let (_, findings) = examined(&rig, "web");
    assert!(!ids(&findings, "unknown").contains(&"vcpu-quota"), "no node is missing: {findings:?}");
    rig.destroy();
}

#[test]
fn a_network_acl_before_targets_is_found_and_create_only_warns_of_it() {
    let rig = Rig::new();
    let file = rig.web();
    let of_vpc = format!("Name=vpc-id,Values={}", rig.api.seed().vpc);
    let list = ["ec2", "describe-network-acls", "--filters", &of_vpc, "--output", "text", "--query"];
    let list = rig.aws(&[&list[..], &["NetworkAcls[0].NetworkAclId"]].concat());
    let entry = ["--network-acl-id", &list, "--rule-number", "1", "--egress"];
    let deny = ["--protocol", "6", "--port-range", "From=8080,To=8080", "--cidr-block", "0.0.0.0/0"];
    let create = ["ec2", "create-network-acl-entry", "--rule-action", "deny"];
    rig.aws(&[&create[..], &entry, &deny].concat());
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["target-network-acls"]), "{findings:?}");
    let said = text(&rig.create(&file).stderr);
    let rule = format!("add an outbound rule to {list}: allow tcp 8080 to 10.0.1.20/32");
    assert!(said.contains("warning: target-network-acls: ") && said.contains(&rule), "{said}");
    rig.aws(&[&["ec2", "delete-network-acl-entry"][..], &entry].concat());
    sound(&rig, "web");
    rig.destroy();
}

#[test]
fn closed_outbound_rules_are_found_and_stop_the_launch_of_another_node() {
    let rig = Rig::new();
    let file = rig.web();
    rig.create(&file);
    sound(&rig, "web");
    let group = rig.world().security_groups.into_iter().find(|group| group.name == "elbow-web").expect("the group").id;
    let all = ["--group-id", &group, "--ip-permissions", "IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]"];
    rig.aws(&[&["ec2", "revoke-security-group-egress"][..], &all].concat());
    let (code, findings) = examined(&rig, "web");
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["outbound-rules"]), "{findings:?}");
    assert_eq!(ids(&findings, "warning"), ["outbound-rules"], "targets: {findings:?}");
    // Nothing is to do, so `create` only warns.
    let said = text(&rig.create(&file).stderr);
    assert!(
        said.contains(&format!("warning: outbound-rules: the outbound rules of {group} don't allow tcp 443")),
        "{said}"
    );
    rig.aws(&["ec2", "terminate-instances", "--instance-ids", &rig.nodes()[0].id]);
    refused(&rig, &["create", name(&file), "--no-wait"], &["outbound-rules: ", &group, "--despite outbound-rules"]);
    rig.aws(&[&["ec2", "authorize-security-group-egress"][..], &all].concat());
    rig.create(&file);
    sound(&rig, "web");
    rig.destroy();
}
