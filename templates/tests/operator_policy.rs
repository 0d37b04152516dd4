//! The operator's policy, the calls in the launcher's source, and docs/permissions.md name the same actions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use templates::balancer::{Balancer, Launch, Volume};
use templates::files;

const SERVICES: [&str; 7] = ["autoscaling", "ec2", "iam", "kms", "s3", "ssm", "sts"];

/// Needed for other calls, by the Service Authorization Reference: the launcher doesn't call it itself.
const DEPENDENT: &str = "iam:CreateServiceLinkedRole";

/// Of `launcher bucket --delete`: it removes the agents of all balancers, so a balancer's operator may not.
const OF_THE_BUCKET: [&str; 2] = ["s3:DeleteBucket", "s3:DeleteObject"];

/// Needs no permission (STS API reference).
const FREE: &str = "sts:GetCallerIdentity";

/// Condition keys that the launcher's source names: they look like actions.
const KEYS: [&str; 2] = ["iam:PassedToService", "iam:PermissionsBoundary"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The actions among what stands between two of these quotes.
fn actions(text: &str, quote: char) -> BTreeSet<String> {
    let is_action = |word: &&str| {
        word.split_once(':').is_some_and(|(service, name)| {
            SERVICES.contains(&service)
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|b| b.is_ascii_alphabetic())
        })
    };
    text.lines().flat_map(|line| line.split(quote)).filter(is_action).map(str::to_owned).collect()
}

/// The actions of the statements, without the names of condition keys.
fn allowed(balancer: &Balancer) -> BTreeSet<String> {
    let policy: serde_json::Value = serde_json::from_str(&files::operator_policy(balancer, "eu-west-1")).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements.flat_map(|statement| actions(&statement["Action"].to_string(), '"')).collect()
}

/// With every kind of statement.
fn whole() -> BTreeSet<String> {
    let mut balancer = Balancer::parse(include_str!("../goldens/small/balancer.toml")).unwrap();
    balancer.launch = Launch::AutoScaling;
    balancer.agent = None;
    balancer.tags.insert("Team".to_owned(), "web".to_owned());
    balancer.iam.permissions_boundary = Some("arn:aws:iam::123456789012:policy/B".to_owned());
    balancer.volume = Some(Volume { kms_key: Some("arn:aws:kms:eu-west-1:1:key/1".to_owned()), ..Volume::default() });
    allowed(&balancer)
}

fn sources(folder: &Path, texts: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, texts);
        } else {
            *texts += &fs::read_to_string(&entry).unwrap();
        }
    }
}

#[test]
fn the_policy_allows_the_launchers_calls_and_no_others() {
    let mut texts = String::new();
    sources(&root().join("launcher/src"), &mut texts);
    let is_no_call =
        |action: &String| action == FREE || KEYS.contains(&action.as_str()) || OF_THE_BUCKET.contains(&action.as_str());
    let called: BTreeSet<String> = actions(&texts, '"').into_iter().filter(|action| !is_no_call(action)).collect();
    assert!(called.len() > 50, "{called:?}");
    let is_dependent = |action: &String| action.starts_with("kms:") || action == DEPENDENT;
    let allowed: BTreeSet<String> = whole().into_iter().filter(|action| !is_dependent(action)).collect();
    assert_eq!(called, allowed);
}

#[test]
fn the_document_lists_the_actions_of_the_policy() {
    let text = fs::read_to_string(root().join("docs/permissions.md")).unwrap();
    let (operator, _) = text.split_once("\n## A node").unwrap();
    assert_eq!(actions(operator, '`'), whole());
}
