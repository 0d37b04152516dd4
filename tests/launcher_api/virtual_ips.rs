//! Two balancers of a VPC never get the same virtual IP, whatever the state of the first, and also if both are created
//! at once.

use std::path::PathBuf;
use std::process::Stdio;

use crate::node;
use crate::rig::{Rig, refused, succeeded, text};

/// The file of another balancer in the same subnets.
fn shop(rig: &Rig, vips: &str) -> PathBuf {
    let text = rig.example().replace("name = \"web\"", "name = \"shop\"").replace("[\"10.255.0.10\"]", vips);
    rig.file("shop.toml", &text)
}

#[test]
fn a_virtual_ip_of_another_balancer_is_refused_in_each_of_its_states() {
    let rig = Rig::new();
    let file = shop(&rig, "[\"10.255.0.10\"]");
    let create = ["create", file.to_str().unwrap()];
    let theirs = "virtual IP 10.255.0.10 belongs to balancer web: choose another";
    // No route leads to it yet.
    rig.create(&rig.web());
    refused(&rig, &create, &[theirs]);
    node::serve(&rig);
    let said = refused(&rig, &create, &[theirs]);
    assert_eq!(said.matches("10.255.0.10").count(), 1, "not one line for all tables: {said}");
    let ids: Vec<String> = rig.nodes().into_iter().map(|node| node.id).collect();
    rig.aws(&[&["ec2", "stop-instances", "--instance-ids"][..], &[&ids[0], &ids[1]]].concat());
    refused(&rig, &create, &[theirs]);

    // A balancer with its own virtual IP can't add the other one later.
    rig.create(&shop(&rig, "[\"10.255.0.20\"]"));
    let both = shop(&rig, "[\"10.255.0.20\", \"10.255.0.10\"]");
    refused(&rig, &["update", both.to_str().unwrap()], &[theirs]);
    succeeded(rig.launcher(["destroy", "shop", "--yes"]));

    // A balancer of an older Elbow has no claim.
    let world = rig.world();
    let group = world.security_groups.iter().find(|group| group.name == "elbow-web").expect("the security group");
    let tag = ["--tags", "Key=elbow:virtual-ip:10.255.0.10"];
    rig.aws(&[&["ec2", "delete-tags", "--resources", &group.id][..], &tag].concat());
    let file = shop(&rig, "[\"10.255.0.10\"]");
    let create = ["create", file.to_str().unwrap()];
    refused(&rig, &create, &[theirs]);

    rig.destroy();
    rig.create(&file);
}

#[test]
fn of_two_creates_with_the_same_virtual_ip_one_succeeds_and_the_other_leaves_nothing() {
    let rig = Rig::new();
    let before = rig.surroundings();
    let files = [("web", rig.web()), ("shop", shop(&rig, "[\"10.255.0.10\"]"))];
    for round in 0..3 {
        let pair = files.each_ref().map(|(name, file)| {
            let mut command = rig.command(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()]);
            (name, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        });
        let mut codes = Vec::new();
        for (name, child) in pair {
            let output = child.wait_with_output().unwrap();
            codes.push((output.status.code(), *name, text(&output.stderr)));
        }
        codes.sort();
        let [(Some(0), made, _), (Some(2), _, said)] = &codes[..] else { panic!("round {round}: {codes:?}") };
        assert!(said.contains(&format!("virtual IP 10.255.0.10 belongs to balancer {made}")), "round {round}: {said}");
        succeeded(rig.launcher(["destroy", made, "--yes"]));
        assert_eq!(rig.surroundings(), before, "round {round}");
    }
}
