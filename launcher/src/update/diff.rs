//! The diff that an update shows: the nodes' files before and after. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;
use sha2::{Digest, Sha256};
use similar::{ChangeTag, TextDiff};
use templates::balancer::{Volume, secrets};
use templates::files::{self, HaproxyNode, KeepalivedNode};
use templates::{Balancer, Slot};

use crate::model::desired::rules;
use crate::resources::launch_template::Contents;

/// Lines of context around a change.
const CONTEXT: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its name.
    pub file: &'static str,
    /// The difference, as `diff -u` writes it.
    pub diff: String,
}

/// The place for which files are rendered.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    pub region: &'a str,
    /// The VPC's CIDRs.
    pub cidrs: &'a [Ipv4Net],
    /// The nodes' addresses, by slot.
    pub members: &'a [Ipv4Addr],
}

/// The files that differ between `old` and `new`; haproxy.cfg and keepalived.conf are those of slot 0.
pub fn difference(old: &Balancer, new: &Balancer, scene: &Scene<'_>) -> Vec<FileChange> {
    let pairs = |render: &dyn Fn(&Balancer) -> String| (render(old), render(new));
    let address = scene.members.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let peers = scene.members.get(1..).unwrap_or_default();
    let haproxy =
        |balancer: &Balancer| files::haproxy_cfg(&HaproxyNode { address, peers, ..HaproxyNode::typical(balancer) });
    let keepalived = |balancer: &Balancer| {
        files::keepalived_conf(&KeepalivedNode { balancer, slot: Slot(0), address, peers, interface: "eth0" })
    };
    let group =
        |balancer: &Balancer| rules(balancer, scene.cidrs).iter().map(|rule| format!("{rule}\n")).collect::<String>();
    [
        ("instances", pairs(&machine)),
        ("haproxy.cfg", pairs(&haproxy)),
        ("keepalived.conf, on node 0", pairs(&keepalived)),
        ("sysctl.conf", pairs(&files::sysctl_conf)),
        ("rsyslog.conf", pairs(&files::rsyslog_conf)),
        ("instance metadata access", pairs(&|balancer| format!("{:?}\n", balancer.node.metadata).to_lowercase())),
        ("security group rules", pairs(&group)),
        ("tags", pairs(&tags)),
        ("permissions of the nodes' role", pairs(&|balancer| files::permission_policy(balancer, scene.region))),
    ]
    .into_iter()
    .filter_map(|(file, (old, new))| Some(FileChange { file, diff: unified(&old, &new)? }))
    .collect()
}

/// The differences between two versions of a launch template, in the fields that Elbow reads.
pub fn between_versions(old: &Contents, new: &Contents, scene: &Scene<'_>) -> Vec<FileChange> {
    let template = unified(&fields(old), &fields(new)).map(|diff| FileChange { file: "the launch template", diff });
    let balancer = |contents: &Contents| files::read_back(&contents.user_data).ok().map(|config| config.balancer);
    let both = balancer(old).zip(balancer(new));
    template.into_iter().chain(both.iter().flat_map(|(old, new)| difference(old, new, scene))).collect()
}

/// A version's fields under EC2's names. User-data is hashed, as it may hold a webhook's secret address.
fn fields(contents: &Contents) -> String {
    let Contents { image, instance_type, groups, profile, volume, user_data, metadata, launched } = contents;
    let tags: String =
        launched.iter().map(|(kind, tags)| format!("TagSpecifications {kind}: {:?}\n", tags.0)).collect();
    format!(
        "ImageId: {image}\nInstanceType: {instance_type}\nSecurityGroupIds: {}\nIamInstanceProfile: {profile}\n\
         BlockDeviceMappings: {}\nMetadataOptions: {metadata:?}\n{tags}UserData: SHA-256 {}\n",
        groups.join(" "),
        root(volume.as_ref()),
        hex::encode(Sha256::digest(user_data))
    )
}

/// The operator's tags, a line each.
fn tags(balancer: &Balancer) -> String {
    balancer.tags.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// A root volume in words.
fn root(volume: Option<&Volume>) -> String {
    let Some(Volume { device, size, kms_key }) = volume else { return "as the image says".to_owned() };
    let size = size.map(|size| format!(", {size} GiB")).unwrap_or_default();
    let key = kms_key.as_ref().map(|key| format!(", encrypted by {key}")).unwrap_or_default();
    format!("{device}, gp3{size}{key}")
}

fn machine(balancer: &Balancer) -> String {
    let Balancer { instance_type, image, agent, agents, subnets, node, volume, iam, .. } = balancer;
    let nodes: String = subnets.iter().enumerate().map(|(slot, subnet)| format!("node {slot} in {subnet}\n")).collect();
    let agent = match agent {
        Some(agent) => format!("agent {}, sha256 {}\n", secrets::addresses(&agent.source), agent.sha256),
        None => agents.iter().map(|(kind, sha256)| format!("agent for {kind}, sha256 {sha256}\n")).collect(),
    };
    let mut more: String = node.security_groups.iter().map(|group| format!("security group {group}\n")).collect();
    more.extend(volume.as_ref().map(|volume| format!("root volume {}\n", root(Some(volume)))));
    more.extend(iam.instance_profile.as_ref().map(|profile| format!("instance profile {profile}\n")));
    format!("{instance_type}, image {image}\n{agent}{nodes}{more}")
}

/// The diff; nothing if only the revision differs, which every file names.
fn unified(old: &str, new: &str) -> Option<String> {
    let diff = TextDiff::from_lines(old, new);
    let tells = |line: &str| !line.starts_with("# ") || !line.contains(", revision ");
    let tells = |line: &str| tells(line) && !line.contains("{ path /revision }");
    let changes = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
    let news = changes.filter(|change| tells(change.value())).count();
    (news > 0).then(|| diff.unified_diff().context_radius(CONTEXT).to_string())
}

/// A diff with a terminal's colours.
pub fn coloured(diff: &str) -> String {
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => format!("\x1b[32m{line}\x1b[0m\n"),
        Some(b'-') => format!("\x1b[31m{line}\x1b[0m\n"),
        Some(b'@') => format!("\x1b[36m{line}\x1b[0m\n"),
        _ => format!("{line}\n"),
    };
    diff.lines().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::agent_store;
    use crate::model::desired::tests::{desired_of, web};

    fn between(change: impl Fn(&mut Balancer)) -> Vec<FileChange> {
        let mut new = web();
        change(&mut new);
        let members = [[10, 0, 1, 4].into(), [10, 0, 2, 4].into()];
        let cidrs = ["10.0.0.0/16".parse().unwrap()];
        difference(&web(), &new, &Scene { region: "eu-west-1", cidrs: &cidrs, members: &members })
    }

    #[test]
    fn a_new_target_changes_haproxy_cfg_only() {
        let changes = between(|new| {
            let targets = new.listeners[0].targets.as_mut().unwrap();
            targets.push("10.0.3.20:8080".parse().unwrap());
        });
        let files: Vec<&str> = changes.iter().map(|change| change.file).collect();
        assert_eq!(files, ["haproxy.cfg"]);
        assert!(changes[0].diff.contains("\n+    server 10.0.3.20:8080 10.0.3.20:8080\n"), "{}", changes[0].diff);
    }

    #[test]
    fn a_new_port_changes_the_security_group() {
        let changes = between(|new| new.listeners[0].port = Some(8080));
        let group = changes.iter().find(|change| change.file.contains("security group")).unwrap();
        assert!(group.diff.contains("-tcp 80 from 10.0.0.0/16\n"), "{}", group.diff);
        assert!(group.diff.contains("+tcp 8080 from 10.0.0.0/16\n"), "{}", group.diff);
    }

    #[test]
    fn a_receiver_of_the_log_changes_rsyslog_conf_only() {
        let changes = between(|new| {
            let syslog = "logs.example.com:514".parse().unwrap();
            new.logs = Some(templates::balancer::Logs { syslog });
        });
        let [FileChange { file: "rsyslog.conf", diff }] = &changes[..] else { panic!("{changes:?}") };
        assert!(diff.contains("\n+    action(type=\"omfwd\" target=\"logs.example.com\" port=\"514\" "), "{diff}");
    }

    #[test]
    fn other_agents_of_a_launcher_are_a_difference_of_the_instances() {
        let changes = between(|new| (new.agent, new.agents) = (None, agent_store::tests::balancer().agents));
        let instances = changes.iter().find(|change| change.file == "instances").unwrap();
        let line = format!("\n+agent for x86_64, sha256 {}\n", "a".repeat(64));
        assert!(instances.diff.contains("\n-agent https://example.com/agent, sha256 0"), "{}", instances.diff);
        assert!(instances.diff.contains(&line), "{}", instances.diff);
    }

    #[test]
    fn the_same_balancer_has_no_difference() {
        assert_eq!(between(|_| ()), []);
    }

    #[test]
    fn versions_differ_by_their_fields_and_their_files() {
        let old = desired_of(&web()).contents("sg-1", None);
        let scene = Scene { region: "eu-west-1", cidrs: &[], members: &[] };
        let said = |new: &Contents| -> Vec<FileChange> { between_versions(&old, new, &scene) };
        assert_eq!(said(&old), []);
        let image = Contents { image: "ami-other".to_owned(), ..old.clone() };
        assert!(said(&image)[0].diff.contains("-ImageId: ami-0a1b2c3d\n+ImageId: ami-other\n"), "{:?}", said(&image));
        let mut new = web();
        new.listeners[0].port = Some(8080);
        let files: Vec<&str> =
            said(&desired_of(&new).contents("sg-1", None)).iter().map(|change| change.file).collect();
        assert_eq!(files, ["the launch template", "haproxy.cfg"]);
        let foreign = Contents { user_data: "bm90IGd6aXA=".to_owned(), ..old.clone() };
        assert_eq!(said(&foreign).len(), 1);
    }

    #[test]
    fn colours_are_by_line() {
        assert_eq!(
            coloured("@@ -1 +1 @@\n-a\n+b\n c\n"),
            "\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-a\x1b[0m\n\x1b[32m+b\x1b[0m\n c\n"
        );
    }
}
