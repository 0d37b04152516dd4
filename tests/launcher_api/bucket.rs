//! Balancers without `[agent]`: the launcher keeps the agents in a bucket of the account.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::node;
use crate::rig::{Rig, complaints, launcher, mutating, succeeded, text};

/// A launcher in a folder of its own, with agents beside it.
struct Release(tempfile::TempDir);

impl Release {
    fn with(agents: &[(&str, &[u8])]) -> Release {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("launcher");
        // A link can't lead to another file system.
        std::fs::hard_link(launcher(), &path).or_else(|_| std::fs::copy(launcher(), &path).map(drop)).expect("a copy");
        agents.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).expect("an agent"));
        Release(folder)
    }

    /// With an agent for the lab's images.
    fn of(agent: &[u8]) -> Release {
        Release::with(&[("agent-x86_64", agent)])
    }

    fn run(&self, rig: &Rig, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(self.0.path().join("launcher"));
        command.args(arguments).envs(rig.api.environment()).stdin(std::process::Stdio::null());
        command.output().expect("the launcher starts")
    }

    /// Runs a command that must be refused without a change; returns its messages.
    #[track_caller]
    fn refused(&self, rig: &Rig, arguments: &[&str]) -> String {
        rig.take_calls();
        let output = self.run(rig, arguments);
        let said = complaints(&output);
        assert_eq!(output.status.code(), Some(2), "{said}{}", text(&output.stdout));
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0], "{said}");
        said
    }
}

/// The head of a program for x86_64 (62) or aarch64 (183), and other bytes.
fn program(machine: u16, rest: &str) -> Vec<u8> {
    [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"[..], &machine.to_le_bytes(), rest.as_bytes()].concat()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The example without `[agent]`, in a file of this name.
pub fn managed(rig: &Rig, name: &str) -> PathBuf {
    let example = rig.example();
    let (head, rest) = example.split_once("[agent]").expect("the example has an agent");
    let listener = rest.find("[[listener]]").expect("and a listener");
    rig.file(name, &format!("{head}[tags]\nTeam = \"web\"\n\n{}", &rest[listener..]))
}

fn bucket(rig: &Rig) -> String {
    format!("elbow-{}-{}", rig.api.seed().account, rig.api.seed().region)
}

/// The answer to an AWS CLI command about the bucket, with these further words.
fn s3(rig: &Rig, command: &str, words: &[&str]) -> Value {
    let bucket = bucket(rig);
    let said = rig.aws(&[&["s3api", command, "--bucket", &bucket, "--output", "json"][..], words].concat());
    serde_json::from_str(&said).expect("JSON")
}

fn keys(rig: &Rig) -> Vec<String> {
    let listed = s3(rig, "list-objects-v2", &[]);
    let objects = listed["Contents"].as_array().cloned().unwrap_or_default();
    objects.iter().map(|object| object["Key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
fn the_bucket_is_made_once_private_and_encrypted_and_found_by_a_second_create() {
    let rig = Rig::new();
    let file = managed(&rig, "web.toml");
    let path = file.to_str().expect("it is UTF-8");
    let agent = program(62, "first");
    // Only the agent for the image is uploaded.
    let release = Release::with(&[("agent-x86_64", &agent[..]), ("agent-aarch64", &program(183, "first")[..])]);
    let planned = text(&succeeded(release.run(&rig, &["create", path, "--dry-run"])).stdout);
    for line in [format!("create bucket {}", bucket(&rig)), "upload the agent for x86_64 (0.0 MB) to bucket".to_owned()]
    {
        assert!(planned.contains(&line), "{planned}\nnot: {line}");
    }
    succeeded(release.run(&rig, &["create", path, "--no-wait"]));

    assert_eq!(keys(&rig), [format!("agent/{}", digest(&agent))]);
    let block = s3(&rig, "get-public-access-block", &[]);
    let block = block["PublicAccessBlockConfiguration"].as_object().expect("it is blocked");
    assert!(block.len() == 4 && block.values().all(|is_blocked| *is_blocked == true), "{block:?}");
    let encryption = s3(&rig, "get-bucket-encryption", &[]);
    let rule = &encryption["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"];
    assert_eq!(rule["SSEAlgorithm"], "AES256");
    assert_eq!(s3(&rig, "get-bucket-tagging", &[])["TagSet"], json!([{"Key": "Team", "Value": "web"}]));
    let role = ["iam", "get-role-policy", "--role-name", "elbow-eu-west-1-web", "--policy-name", "elbow-eu-west-1-web"];
    assert!(rig.aws(&role).contains(&format!("/agent/{}", digest(&agent))));

    rig.take_calls();
    let again = succeeded(release.run(&rig, &["create", path, "--no-wait"]));
    assert!(text(&again.stdout).contains("nothing changes"), "{}", text(&again.stdout));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
    // The object alone is missing: nothing else is made.
    let key = format!("agent/{}", digest(&agent));
    rig.aws(&["s3api", "delete-object", "--bucket", &bucket(&rig), "--key", &key]);
    rig.aws(&["s3api", "put-object", "--bucket", &bucket(&rig), "--key", "agent/other"]);
    rig.take_calls();
    succeeded(release.run(&rig, &["create", path, "--no-wait"]));
    assert_eq!(mutating(&rig.take_calls()), ["PutObject"]);
    assert_eq!(keys(&rig), [key.as_str(), "agent/other"]);
}

#[test]
fn another_agent_gets_its_own_object_and_is_announced_and_may_be_kept_out() {
    let rig = Rig::new();
    let file = managed(&rig, "managed.toml");
    let path = file.to_str().expect("it is UTF-8");
    let (first, second) = (program(62, "first"), program(62, "second"));
    succeeded(Release::of(&first).run(&rig, &["create", path, "--no-wait"]));
    node::serve(&rig);

    let newer = Release::of(&second);
    assert!(newer.refused(&rig, &["create", path]).contains("it differs in agents"));
    let planned = text(&succeeded(newer.run(&rig, &["update", path, "--dry-run"])).stdout);
    for line in [
        format!("upload the agent for x86_64 (0.0 MB) to bucket {}", bucket(&rig)),
        format!("-agent for x86_64, sha256 {}", digest(&first)),
        format!("+agent for x86_64, sha256 {}", digest(&second)),
    ] {
        assert!(planned.contains(&line), "{planned}\nnot: {line}");
    }
    let kept = text(&succeeded(newer.run(&rig, &["update", path, "--keep-agent", "--dry-run"])).stdout);
    assert!(kept.contains("web: nothing changes"), "{kept}");
    // Its own agents don't matter then: it may have none.
    let kept = text(&succeeded(Release::with(&[]).run(&rig, &["update", path, "--keep-agent", "--dry-run"])).stdout);
    assert!(kept.contains("web: nothing changes"), "{kept}");
    let named = rig.web();
    let said = newer.refused(&rig, &["update", named.to_str().expect("it is UTF-8"), "--keep-agent"]);
    assert!(said.contains("[agent] names an agent, and --keep-agent asks for the balancer's"), "{said}");

    // An object of other content is never taken for the second agent.
    let example = std::fs::read_to_string(&file).expect("the file is there");
    let other = example.replace("\"web\"", "\"shop\"").replace("10.255.0.10", "10.255.0.11");
    let other = rig.file("shop.toml", &other);
    succeeded(newer.run(&rig, &["create", other.to_str().expect("it is UTF-8"), "--no-wait"]));
    let mut both = [&first, &second].map(|agent| format!("agent/{}", digest(agent)));
    both.sort();
    assert_eq!(keys(&rig), both);
}

#[test]
fn an_absent_agent_is_refused_with_its_file_and_folder() {
    let rig = Rig::new();
    let file = managed(&rig, "web.toml");
    let path = file.to_str().expect("it is UTF-8");
    for command in ["validate", "create"] {
        let none = Release::with(&[]);
        let said = none.refused(&rig, &[command, path]);
        let folder = none.0.path().canonicalize().expect("it is there").display().to_string();
        assert!(said.contains(&folder) && said.contains("put the agents of this Elbow's release there"), "{said}");
    }
    let arm = Release::with(&[("agent-aarch64", &program(183, "")[..])]);
    let said = arm.refused(&rig, &["create", path]);
    let image = format!("image {} is x86_64, for instance type t3.small", rig.api.seed().images["main"]);
    assert!(said.contains(&image) && said.contains("only the agent for aarch64: put agent-x86_64 into "), "{said}");
    let wrong = Release::with(&[("agent-x86_64", &program(183, "")[..])]);
    assert!(wrong.refused(&rig, &["create", path]).contains("agent-x86_64: is a program for aarch64"));
    // A local build has one agent without an architecture in its name.
    succeeded(Release::with(&[("agent", &program(62, "")[..])]).run(&rig, &["create", path, "--dry-run"]));
}

#[test]
fn a_bucket_that_another_account_made_first_is_refused() {
    let rig = Rig::new();
    let file = managed(&rig, "web.toml");
    rig.api.make_foreign_bucket(&bucket(&rig)).expect("the lab makes it");
    let release = Release::of(&program(62, ""));
    let said = release.refused(&rig, &["create", file.to_str().expect("it is UTF-8"), "--no-wait"]);
    assert!(
        said.contains(&format!("bucket {}: you may not call s3:ListBucket, or another account has it", bucket(&rig)))
    );
    assert!(said.contains("write [agent] with a source"), "{said}");
}

#[test]
fn the_bucket_is_shown_and_deleted_only_when_no_balancer_uses_it() {
    let rig = Rig::new();
    let file = managed(&rig, "web.toml");
    let release = Release::of(&program(62, ""));
    let name = bucket(&rig);
    let absent = text(&succeeded(release.run(&rig, &["bucket"])).stdout);
    assert!(absent.contains(&format!("there is no bucket {name}")), "{absent}");
    succeeded(release.run(&rig, &["create", file.to_str().expect("it is UTF-8"), "--no-wait"]));

    let shown = succeeded(release.run(&rig, &["bucket", "--output", "json"]));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let key = format!("agent/{}", digest(&program(62, "")));
    assert_eq!(shown["users"], json!([{"balancer": "web", "keys": [key]}]));
    assert_eq!(shown["objects"], json!([{"key": key, "size": 20}]));
    let said = release.refused(&rig, &["bucket", "--delete", "--yes"]);
    assert!(said.contains(&format!("bucket {name}: new nodes of web get their agent there")), "{said}");

    let destroyed = text(&succeeded(release.run(&rig, &["destroy", "web", "--yes"])).stdout);
    assert!(destroyed.contains("`launcher bucket --delete` removes it"), "{destroyed}");
    assert_eq!(keys(&rig), [key]);
    assert!(release.refused(&rig, &["bucket", "--delete"]).contains("use --yes"));
    rig.aws(&["s3api", "put-object", "--bucket", &name, "--key", "notes.txt"]);
    assert!(
        release.refused(&rig, &["bucket", "--delete", "--yes"]).contains("such as notes.txt: move them away first")
    );
    rig.aws(&["s3api", "delete-object", "--bucket", &name, "--key", "notes.txt"]);
    succeeded(release.run(&rig, &["bucket", "--delete", "--yes"]));
    assert!(text(&succeeded(release.run(&rig, &["bucket"])).stdout).contains("there is no bucket"));
}
