//! Tags, role, volume and security groups that AWS, or the nodes' metadata service, would not take.

use templates::Balancer;

use crate::{GOOD, refused};

/// The example with these lines before its `[agent]`, on line 6.
#[track_caller]
fn within(text: &str, line: &str) {
    refused("[agent]", &format!("{text}\n[agent]"), line);
}

#[test]
fn tag_keys_that_are_reserved_or_that_imds_does_not_carry() {
    let key = |key: &str, why: &str| within(&format!("[tags]\n\"{key}\" = \"x\""), why);
    key("aws:x", "line 7: tags.aws:x: \"aws:x\" starts with aws:, which AWS reserves; choose another key");
    key("Elbow:x", "line 7: tags.Elbow:x: \"Elbow:x\" starts with elbow:, which Elbow reserves; choose another key");
    key("Name", "line 7: tags.Name: \"Name\" is Elbow's: it names each node; remove it");
    let carried = "the nodes read their tags from the metadata service, which carries only a-z, A-Z, 0-9 and +-=._:@ in keys; \
                   choose another key";
    key("Cost Center", &format!("line 7: tags.Cost Center: \"Cost Center\" contains ' ': {carried}"));
    key("a/b", &format!("line 7: tags.a/b: \"a/b\" contains '/': {carried}"));
    key("a,b", &format!("line 7: tags.a,b: \"a,b\" contains ',': {carried}"));
    for reserved in [".", "..", "_index"] {
        let text = GOOD.replacen("[agent]", &format!("[tags]\n\"{reserved}\" = \"x\"\n[agent]"), 1);
        let said = Balancer::parse(&text).unwrap_err().to_string();
        assert!(said.contains("the metadata service, which reserves this name"), "{said}");
    }
}

#[test]
fn tags_that_are_too_long_too_many_or_the_same_for_iam() {
    let long = "k".repeat(129);
    within(
        &format!("[tags]\n{long} = \"x\""),
        &format!("line 7: tags.{long}: \"{long}\" is too long; write at most 128 characters"),
    );
    let value = "v".repeat(257);
    within(
        &format!("[tags]\nTeam = \"{value}\""),
        "line 7: tags.Team: \"Team\" has a value that is too long; write at most 256 characters",
    );
    within(
        "[tags]\nTeam = \"a&b\"",
        "line 7: tags.Team: \"Team\" has a value with '&'; write letters, digits, spaces and +-=._:/@",
    );
    within(
        "[tags]\nTeam = \"a\"\nteam = \"b\"",
        "line 8: tags.team: \"team\" differs from \"Team\" in its case only, which IAM ignores; remove one of them",
    );
    let many: String = (0..26).map(|n| format!("t{n} = \"\"\n")).collect();
    within(
        &format!("[tags]\n{many}"),
        "line 6: tags: 26 are too many; write at most 24: AWS allows 50 on a resource, and Elbow needs the rest",
    );
    within("[tags]\nTeam = 7", "line 7: tags.Team: 7: wrong type; write text in quotes, such as \"4711\"");
    let good = "[tags]\nCostCenter = \"47 11/α\"\n\"org:unit@x\" = \"\"\n[agent]";
    Balancer::parse(&GOOD.replacen("[agent]", good, 1)).unwrap();
}

#[test]
fn roles_paths_and_boundaries_that_iam_would_not_take() {
    let iam = |text: &str, line: &str| within(&format!("[iam]\n{text}"), line);
    iam(
        "role = \"arn:aws:iam::123456789012:role/web\"",
        "line 7: iam.role: \"arn:aws:iam::123456789012:role/web\" is not a name; write it without its path or ARN: up to 64 of \
         a-z, A-Z, 0-9 and +=,.@_-",
    );
    iam(
        "instance_profile = \"elbow-eu-west-1-web\"",
        "line 7: iam.instance_profile: \"elbow-eu-west-1-web\" starts with elbow-, as Elbow's own do; name another one",
    );
    iam(
        "path = \"elbow\"",
        "line 7: iam.path: \"elbow\" is not a path; write it with a / at both ends, such as \"/elbow/\"",
    );
    iam(
        "instance_profile = \"web\"\npath = \"/elbow/\"",
        "line 8: iam.path: has no effect, as Elbow creates neither a role nor an instance profile; remove it",
    );
    iam(
        "permissions_boundary = \"Boundary\"",
        "line 7: iam.permissions_boundary: \"Boundary\" is not a policy's ARN; write arn:aws:iam::ACCOUNT:policy/NAME",
    );
    iam(
        "role = \"web\"\npermissions_boundary = \"arn:aws:iam::123456789012:policy/Boundary\"",
        "line 8: iam.permissions_boundary: has no effect, as Elbow doesn't change an existing role; remove it",
    );
    let good = "[iam]\nrole = \"web\"\npath = \"/elbow/\"\n[agent]";
    Balancer::parse(&GOOD.replacen("[agent]", good, 1)).unwrap();
}

#[test]
fn volumes_and_groups_that_ec2_would_not_take() {
    let volume = |text: &str, line: &str| within(&format!("[volume]\n{text}"), line);
    volume("size = 0", "line 7: volume.size: 0 is out of range; write a number of GiB from 1 to 65536");
    volume(
        "size = \"20\"",
        "line 7: volume.size: \"20\": wrong type; write a number of GiB from 1 to 65536, without quotes",
    );
    volume("device = \"xvda\"", "line 7: volume.device: \"xvda\" is not a device name, such as \"/dev/xvda\"");
    volume(
        "kms_key = \"alias/ebs\"",
        "line 7: volume.kms_key: \"alias/ebs\" is not a key's ARN; write arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias",
    );
    within(
        "[node]\nsecurity_groups = [\"sg-0a\", \"database\"]",
        "line 7: node.security_groups: \"database\" is not an id; write sg- and hex digits",
    );
    within("[node]\nsecurity_groups = [\"sg-0a\", \"sg-0a\"]", "line 7: node.security_groups: sg-0a is listed twice");
}
