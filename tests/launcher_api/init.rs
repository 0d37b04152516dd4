//! `init` reads the account, changes nothing, and prints a file that `create` takes.

use crate::rig::{Rig, mutating, refused, succeeded, text};

#[test]
fn the_file_fits_the_account_and_create_takes_it() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    // The first candidates are elsewhere: one network behind a transit gateway, and one behind a route of the VPC.
    let gateway =
        rig.aws(&["ec2", "create-transit-gateway", "--query", "TransitGateway.TransitGatewayId", "--output", "text"]);
    let (vpc, subnet) = (&seed.vpc, &seed.subnets["private-b"]);
    let attach = ["--transit-gateway-id", &gateway, "--vpc-id", vpc, "--subnet-ids", subnet];
    let id = ["--query", "TransitGatewayVpcAttachment.TransitGatewayAttachmentId", "--output", "text"];
    let attachment = rig.aws(&[&["ec2", "create-transit-gateway-vpc-attachment"][..], &attach, &id].concat());
    let filter = format!("Name=transit-gateway-id,Values={gateway}");
    let id = ["--query", "TransitGatewayRouteTables[0].TransitGatewayRouteTableId", "--output", "text"];
    let describe = ["ec2", "describe-transit-gateway-route-tables", "--filters", &filter];
    let table = rig.aws(&[&describe[..], &id].concat());
    let route = ["--destination-cidr-block", "10.255.0.0/24", "--transit-gateway-attachment-id", &attachment];
    let call = ["ec2", "create-transit-gateway-route", "--transit-gateway-route-table-id", &table];
    rig.aws(&[&call[..], &route].concat());
    for destination in ["10.255.1.0/24", "0.0.0.0/0"] {
        let call = ["ec2", "create-route", "--route-table-id", &seed.route_tables["private-b"]];
        let route = ["--destination-cidr-block", destination, "--transit-gateway-id", &gateway];
        rig.aws(&[&call[..], &route].concat());
    }
    rig.take_calls();

    let digest = "0".repeat(64);
    let arguments = ["init", "--target", "10.0.1.20:8080", "--target", "10.0.2.20:8080"];
    let agent = ["--agent-url", "https://example.com/agent", "--agent-sha256", &digest];
    let output = succeeded(rig.launcher([&arguments[..], &agent].concat()));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    let (file, notes) = (text(&output.stdout), text(&output.stderr));
    let subnets = format!("subnets = [\"{}\", \"{}\"]\n", seed.subnets["private-a"], seed.subnets["private-b"]);
    for line in ["name = \"web\"\n", &format!("vpc = \"{vpc}\"\n"), &subnets, "virtual_ips = [\"10.255.2.10\"]\n"] {
        assert!(file.contains(line), "{line} isn't in\n{file}{notes}");
    }
    for said in [
        format!("{vpc} (lab, 10.0.0.0/16): it holds every target's address"),
        format!("(private-a) in {}a: private; reaches the EC2 API through vpce-", seed.region),
        format!("(private-b) in {}b: private; reaches the EC2 API through vpce-", seed.region),
        format!("not 10.255.0.10: it lies in the route 10.255.0.0/24 in {table} of {gateway}"),
    ] {
        assert!(notes.contains(&said), "{notes}\nnot: {said}");
    }

    let web = rig.file("web.toml", &file);
    let path = web.to_str().unwrap();
    let checked = succeeded(rig.launcher(["validate", path]));
    assert!(!text(&checked.stderr).contains("web.toml: line"), "{}", text(&checked.stderr));
    rig.create(&web);
    // The next balancer gets another name and another virtual IP.
    let next = text(&succeeded(rig.launcher(["init", "--target", "10.0.1.20:8080"])).stdout);
    for line in ["name = \"web-2\"\n", "virtual_ips = [\"10.255.2.11\"]\n", "#source = "] {
        assert!(next.contains(line), "{line} isn't in\n{next}");
    }
    let schema: serde_json::Value = serde_json::from_slice(&succeeded(rig.launcher(["schema"])).stdout).unwrap();
    assert!(schema["properties"]["virtual_ips"].is_object(), "{schema}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let rig = Rig::new();
    let seed = rig.api.seed();
    refused(&rig, &["init", "--target", "192.168.7.7:80"], &["192.168.7.7 is outside every VPC", &seed.vpc, "--vpc"]);
    let (others, subnet) = (seed.others["vpc"].as_str().unwrap(), seed.others["subnet"].as_str().unwrap());
    let lines = ["in two availability zones", "has them in eu-west-1a only", subnet];
    refused(&rig, &["init", "--vpc", others], &lines);
    let inside = ["init", "--target", "10.0.1.20:8080", "--virtual-ip", "10.0.1.99"];
    refused(&rig, &inside, &["virtual IP 10.0.1.99 is taken by", &seed.vpc]);
    rig.take_calls();
    let agent = ["--agent-url", "https://example.com/agent", "--agent-sha256", "zz"];
    for (options, words) in [
        (&["--name", "We_b"][..], "name: \"We_b\" is not a valid name"),
        (&["--vpc", "foo"], "vpc: \"foo\" is not an id"),
        (&["--subnet", "x"], "subnets: \"x\" is not an id"),
        (&["--port", "70000"], "not a number from 1 to 65535"),
        (&["--port", "9110"], "listener.port: "),
        (&agent, "agent.sha256: \"zz\" is not a SHA-256"),
    ] {
        let output = rig.launcher([&["init", "--target", "10.0.1.20:8080"][..], options].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{options:?}: {said}");
    }
    assert!(rig.take_calls().is_empty(), "the launcher called the API");

    // Missing permissions are named.
    let deny = serde_json::json!({"Effect": "Deny", "Action": "ec2:DescribeVpcPeeringConnections", "Resource": "*"});
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [deny]}).to_string();
    let user = ["iam", "put-user-policy", "--user-name", "operator", "--policy-name", "no", "--policy-document"];
    rig.aws(&[&user[..], &[policy.as_str()]].concat());
    let output = rig.launcher(["init", "--target", "10.0.1.20:8080"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not allowed to call ec2:DescribeVpcPeeringConnections"), "{said}");
    assert_eq!(text(&output.stdout), "");
}
