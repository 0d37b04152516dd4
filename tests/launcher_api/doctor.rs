//! `doctor` finds each problem that it knows by its id, and none in a healthy account. `create` makes the same checks.

use std::path::Path;

use lab::api::Call;
use serde_json::Value;

use crate::create::until;
use crate::node;
use crate::rig::{Rig, mutating, refused, succeeded, text};

/// The exit code and the findings that aren't ok, as status and id.
pub fn examined(rig: &Rig, subject: &str) -> (Option<i32>, Vec<(String, String)>) {
    rig.take_calls();
    let output = rig.launcher(["doctor", subject, "--output", "json"]);
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0], "doctor changed something");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let findings = document["findings"].as_array().expect("findings");
    let word = |finding: &Value, key: &str| finding[key].as_str().expect("it is text").to_owned();
    let all = findings.iter().map(|finding| (word(finding, "status"), word(finding, "id")));
    (output.status.code(), all.filter(|(status, _)| status != "ok").collect())
}

/// The ids of the findings with this status.
pub fn ids<'a>(findings: &'a [(String, String)], status: &str) -> Vec<&'a str> {
    let mut ids: Vec<&str> = findings.iter().filter(|(of, _)| of == status).map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

pub fn name(path: &Path) -> &str {
    path.to_str().expect("it is UTF-8")
}

/// Denies the operator these actions.
fn deny(rig: &Rig, actions: &str) {
    let statement = format!(r#"{{"Effect":"Deny","Action":[{actions}],"Resource":"*"}}"#);
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    let user = ["--user-name", "operator", "--policy-name", "denied", "--policy-document", &policy];
    rig.aws(&[&["iam", "put-user-policy"][..], &user].concat());
}

fn allow(rig: &Rig) {
    rig.aws(&["iam", "delete-user-policy", "--user-name", "operator", "--policy-name", "denied"]);
}

#[test]
fn a_healthy_balancer_has_no_problem_and_a_change_by_hand_is_drift() {
    let rig = Rig::new();
    let file = rig.web();
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!(code, Some(0), "{findings:?}");
    assert_eq!(ids(&findings, "unknown"), ["internet", "target-security-groups", "vcpu-quota"]);
    assert_eq!((ids(&findings, "warning"), ids(&findings, "problem")), (vec![], vec![]));
    let said = text(&rig.create(&file).stderr);
    assert!(!said.contains("warning"), "{said}");
    // The checks use what `create` reads anyway.
    let calls = rig.take_calls();
    for action in ["DescribeSubnets", "GetCallerIdentity"] {
        assert_eq!(calls.iter().filter(|call| call.action == action).count(), 1, "{action}");
    }

    // `status` waits for the nodes.
    let early = rig.launcher(["status", "web", "--wait", "1s"]);
    assert_eq!(early.status.code(), Some(3), "{}", text(&early.stdout));
    let waiting = rig.command(["status", "web", "--wait", "60s"]).stdout(std::process::Stdio::piped()).spawn();
    node::serve(&rig);
    succeeded(waiting.expect("the launcher starts").wait_with_output().expect("it ends"));

    let (code, findings) = examined(&rig, "web");
    assert_eq!((code, ids(&findings, "problem")), (Some(0), vec![]), "{findings:?}");
    let group = rig.world().security_groups.into_iter().find(|group| group.name == "elbow-web").expect("the group").id;
    let rule = ["--protocol", "tcp", "--port", "80", "--cidr", "10.0.0.0/16"];
    rig.aws(&[&["ec2", "revoke-security-group-ingress", "--group-id", &group][..], &rule].concat());
    let (code, findings) = examined(&rig, "web");
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["drift"]), "{findings:?}");
    rig.create(&file);
    let shown = text(&succeeded(rig.launcher(["doctor", "web", "--verbose", "--wait", "1s"])).stdout);
    assert!(shown.starts_with("web: no problem, no warning, ") && shown.contains("ok       drift: "), "{shown}");
    assert_eq!(rig.launcher(["doctor", "nothing"]).status.code(), Some(2));
}

#[test]
fn each_problem_of_the_network_is_found_and_create_refuses_it_by_name() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    let (a, b, database) = (&seed.subnets["private-a"], &seed.subnets["private-b"], &seed.others["security_group"]);
    // A target with an interface, and a security group that doesn't admit the nodes.
    let target = ["--private-ip-address", "10.0.1.77", "--groups", database.as_str().expect("an id")];
    rig.aws(&[&["ec2", "create-network-interface", "--subnet-id", a][..], &target].concat());
    let file = rig.file("web.toml", &rig.example().replace("10.0.1.20:8080", "10.0.1.77:8080"));

    let query = |what: &str| ["--output", "text", "--query", what].map(str::to_owned);
    let made = |arguments: &[&str], what: &str| {
        let query = query(what);
        rig.aws(&[arguments, &query.each_ref().map(String::as_str)].concat())
    };
    rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &seed.endpoints["ec2"]]);
    let vpc = format!("Name=vpc-id,Values={}", seed.vpc);
    let list = made(&["ec2", "describe-network-acls", "--filters", &vpc], "NetworkAcls[0].NetworkAclId");
    let no_vrrp = ["--rule-number", "1", "--protocol", "112", "--rule-action", "deny", "--ingress"];
    let entry = ["ec2", "create-network-acl-entry", "--network-acl-id", &list, "--cidr-block", "0.0.0.0/0"];
    rig.aws(&[&entry[..], &no_vrrp].concat());
    let tables = &seed.route_tables["private-a"];
    rig.aws(&["ec2", "create-tags", "--resources", tables, "--tags", "Key=ManagedBy,Value=terraform"]);
    let gateway = made(&["ec2", "create-vpn-gateway", "--type", "ipsec.1"], "VpnGateway.VpnGatewayId");
    rig.aws(&["ec2", "attach-vpn-gateway", "--vpn-gateway-id", &gateway, "--vpc-id", &seed.vpc]);
    let transit = made(&["ec2", "create-transit-gateway"], "TransitGateway.TransitGatewayId");
    let attach = ["ec2", "create-transit-gateway-vpc-attachment", "--transit-gateway-id", &transit, "--subnet-ids", b];
    rig.aws(&[&attach[..], &["--vpc-id", &seed.vpc]].concat());
    let peer = seed.others["vpc"].as_str().expect("an id");
    let peering = ["ec2", "create-vpc-peering-connection", "--vpc-id", &seed.vpc, "--peer-vpc-id", peer];
    let peering = made(&peering, "VpcPeeringConnection.VpcPeeringConnectionId");
    rig.aws(&["ec2", "accept-vpc-peering-connection", "--vpc-peering-connection-id", &peering]);

    let (code, findings) = examined(&rig, name(&file));
    assert_eq!(code, Some(3));
    assert_eq!(ids(&findings, "problem"), ["network-acls", "subnet-api"], "{findings:?}");
    let warnings = ["peerings", "private-gateways", "target-security-groups", "transit-gateways"];
    assert_eq!(ids(&findings, "warning"), warnings, "{findings:?}");
    assert!(ids(&findings, "unknown").contains(&"terraform-tables"), "{findings:?}");
    let create = ["create", name(&file), "--no-wait"];
    let no_way = format!("{b} (eu-west-1b) has no way to the EC2 API");
    refused(&rig, &create, &["subnet-api: ", &no_way, "network-acls: ", &list, "--despite network-acls,subnet-api"]);
    refused(&rig, &["create", name(&file), "--despite", "subnets-api"], &["no check has this id"]);
    let despite = ["create", name(&file), "--dry-run", "--despite", "network-acls,subnet-api"];
    assert!(text(&succeeded(rig.launcher(despite)).stderr).contains("warning: subnet-api: "));

    // Without what prevents nodes from serving, `create` succeeds and warns of the rest.
    let delete = ["ec2", "delete-network-acl-entry", "--network-acl-id", &list, "--rule-number", "1", "--ingress"];
    rig.aws(&delete);
    for (subnet, zone) in [(a, "private-a"), (b, "private-b")] {
        let nat = ["ec2", "create-nat-gateway", "--connectivity-type", "public", "--subnet-id", subnet];
        let nat = made(&nat, "NatGateway.NatGatewayId");
        let route = ["--destination-cidr-block", "0.0.0.0/0", "--nat-gateway-id", &nat];
        rig.aws(&[&["ec2", "create-route", "--route-table-id", &seed.route_tables[zone]][..], &route].concat());
    }
    let said = text(&rig.create(&file).stderr);
    assert!(said.contains("warning: peerings: ") && said.contains("warning: target-security-groups: "), "{said}");
    let (code, findings) = examined(&rig, "web");
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["target-security-groups"]), "{findings:?}");
}

#[test]
fn denied_calls_are_found_before_the_first_change_and_reads_that_only_doctor_needs_are_unknown() {
    let rig = Rig::new();
    let file = rig.web();
    deny(&rig, r#""ec2:CreateSecurityGroup","iam:PassRole""#);
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "problem")), (Some(3), vec!["permissions"]), "{findings:?}");
    let words = ["permissions: you may not call ec2:CreateSecurityGroup", "permissions: you may not call iam:PassRole"];
    refused(&rig, &["create", name(&file)], &words);

    deny(&rig, r#""ec2:DescribeNatGateways","ec2:DescribeNetworkAcls","iam:SimulatePrincipalPolicy""#);
    let (code, findings) = examined(&rig, name(&file));
    assert_eq!((code, ids(&findings, "problem")), (Some(0), vec![]), "{findings:?}");
    for id in ["subnet-api", "network-acls", "permissions"] {
        assert!(ids(&findings, "unknown").contains(&id), "{id}: {findings:?}");
    }
    rig.create(&file);
    assert_eq!(rig.nodes().len(), 2);

    deny(&rig, r#""ec2:DescribeVpcs""#);
    let waits = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.launcher(["doctor", "web", "--wait", "60s"]));
        let is_denied = |call: &Call| call.action == "DescribeVpcs" && call.error.is_some();
        until("doctor looked once", || rig.take_calls().iter().any(is_denied));
        allow(&rig);
        waiting.join().expect("it ends")
    });
    succeeded(waits);
}
