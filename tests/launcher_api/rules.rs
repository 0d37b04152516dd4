//! The limit of rules in a security group: the launcher merges rules and refuses too many before it calls the API.

use std::path::PathBuf;

use crate::rig::{Rig, mutating, text};

fn listeners(rig: &Rig, ports: impl Iterator<Item = u16>) -> PathBuf {
    let text = rig.example();
    let head = text.split("[[listener]]").next().expect("there is text before it");
    let head =
        head.replace("\n[agent]", "clients = [\"10.0.0.0/16\", \"192.168.0.0/24\", \"192.168.0.128/25\"]\n\n[agent]");
    let listeners: String = ports
        .map(|port| {
            format!(
                "[[listener]]\nname = \"l{port}\"\nport = {port}\nprotocol = \"tcp\"\ntargets = [\"10.0.1.20:8080\"]\n\n"
            )
        })
        .collect();
    rig.file("many.toml", &(head + &listeners))
}

#[test]
fn too_many_rules_are_refused_and_consecutive_ports_are_merged() {
    let rig = Rig::new();
    let file = listeners(&rig, (0..35).map(|n| 1000 + 2 * n));
    let output = rig.launcher(["create", file.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the security group would need 73 rules"), "{said}");
    assert!(rig.take_calls().is_empty(), "the launcher called the API");

    // The same number of consecutive ports needs one rule for each client.
    let file = listeners(&rig, 1000..1035);
    rig.create(&file);
    let world = rig.world();
    let group = world.security_groups.iter().find(|group| group.name == "elbow-web").expect("the security group");
    let mut let_in: Vec<_> =
        group.ingress.iter().filter(|rule| rule.protocol == "tcp" && !rule.cidrs.is_empty()).collect();
    let_in.sort_by_key(|rule| rule.cidrs.len());
    assert!(let_in.iter().all(|rule| (rule.from, rule.to) == (Some(1000), Some(1034))), "{let_in:?}");
    assert_eq!(let_in.iter().map(|rule| rule.cidrs.len()).sum::<usize>(), 2, "{let_in:?}");
    rig.take_calls();
    rig.create(&file);
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}
