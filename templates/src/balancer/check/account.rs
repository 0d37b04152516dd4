//! Checks of `[tags]`, `[iam]`, `[volume]` and `node.security_groups`: what AWS would refuse later, or in a part.

use std::collections::BTreeMap;

use super::naming::has_prefix;
use super::{Problem, once, within};
use crate::balancer::location::at;
use crate::balancer::{Balancer, Iam, Volume};

/// AWS allows 50 tags on a resource (EC2 User Guide, "Tag restrictions"). Elbow and its agent set up to 26 on an instance
/// and up to 18 on the security group.
const MOST_TAGS: usize = 24;
/// EC2 User Guide, "Tag restrictions"; IAM User Guide, "Rules for tagging in IAM and AWS STS".
const TAG_KEY: usize = 128;
const TAG_VALUE: usize = 256;
/// Of AWS's at most 16 groups on an interface one is Elbow's (VPC User Guide, "Amazon VPC quotas").
const MOST_GROUPS: usize = 15;
/// The largest gp3 volume, in GiB (EBS User Guide, "General Purpose SSD volumes").
const LARGEST: u32 = 65_536;
/// Of a path in IAM (IAM API reference, CreateRole).
const IAM_PATH: usize = 512;

/// All problems, at most one for each value.
pub fn all(balancer: &Balancer) -> Vec<Problem> {
    let mut problems = tags(&balancer.tags);
    problems.extend(groups(&balancer.node.security_groups));
    problems.extend(balancer.volume.iter().flat_map(volume));
    problems.extend(iam(&balancer.iam));
    problems
}

fn tags(tags: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if tags.len() > MOST_TAGS {
        let message = format!(
            "{} are too many; write at most {MOST_TAGS}: AWS allows 50 on a resource, and Elbow needs the rest",
            tags.len()
        );
        problems.push(Problem::new(at!["tags"], message));
    }
    for (key, value) in tags {
        let twin = tags.keys().find(|other| *other < key && other.eq_ignore_ascii_case(key));
        let what = tag_key(key).or_else(|| tag_value(value)).or_else(|| {
            twin.map(|other| format!("differs from {other:?} in its case only, which IAM ignores; remove one of them"))
        });
        problems.extend(what.map(|what| Problem::new(at!["tags", key.as_str()], format!("{key:?} {what}"))));
    }
    problems
}

/// Why nothing can have a tag with this key, if so.
fn tag_key(key: &str) -> Option<String> {
    // EC2 User Guide, "View tags for your EC2 instances using instance metadata". IAM allows no comma.
    let is_carried = |c: char| c.is_ascii_alphanumeric() || "+-=._:@".contains(c);
    let prefix = |prefix: &str| key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    Some(match key {
        "" => "is no key; write at least one character".to_owned(),
        "Name" => "is Elbow's: it names each node; remove it".to_owned(),
        "." | ".." | "_index" => {
            "can't be a key: the nodes read their tags from the metadata service, which reserves this name; choose another"
                .to_owned()
        }
        _ if prefix("aws:") => "starts with aws:, which AWS reserves; choose another key".to_owned(),
        _ if prefix("elbow:") => "starts with elbow:, which Elbow reserves; choose another key".to_owned(),
        _ if key.len() > TAG_KEY => format!("is too long; write at most {TAG_KEY} characters"),
        _ => match key.chars().find(|c| !is_carried(*c)) {
            None => return None,
            Some(c) => format!(
                "contains {c:?}: the nodes read their tags from the metadata service, which carries only a-z, A-Z, 0-9 and \
                 +-=._:@ in keys; choose another key"
            ),
        },
    })
}

/// The characters that EC2, IAM and Auto Scaling all allow in values.
fn tag_value(value: &str) -> Option<String> {
    if value.chars().count() > TAG_VALUE {
        return Some(format!("has a value that is too long; write at most {TAG_VALUE} characters"));
    }
    let bad = value.chars().find(|c| !(c.is_alphanumeric() || *c == ' ' || "+-=._:/@".contains(*c)))?;
    Some(format!("has a value with {bad:?}; write letters, digits, spaces and +-=._:/@"))
}

fn groups(groups: &[String]) -> Option<Problem> {
    let path = at!["node", "security_groups"];
    if let Some(index) = groups.iter().position(|id| !has_prefix(id, "sg-")) {
        let message = format!("{:?} is not an id; write sg- and hex digits", groups[index]);
        return Some(Problem::new([path, at![index]].concat(), message));
    }
    if groups.len() > MOST_GROUPS {
        let message = format!("{} are too many; write at most {MOST_GROUPS}", groups.len());
        return Some(Problem::new(path, message));
    }
    once(&path, groups).err()
}

fn volume(volume: &Volume) -> Vec<Problem> {
    let Volume { device, size, kms_key } = volume;
    let mut problems: Vec<Problem> =
        within(at!["volume", "size"], size.as_ref(), (1, LARGEST), "a number of GiB from 1 to 65536")
            .err()
            .into_iter()
            .collect();
    let is_device = |name: &str| {
        name.len() <= 32 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !device.strip_prefix("/dev/").is_some_and(is_device) {
        let message = format!("{device:?} is not a device name, such as \"/dev/xvda\"");
        problems.push(Problem::new(at!["volume", "device"], message));
    }
    let is_key = |resource: &str| resource.strip_prefix("key/").is_some_and(|id| !id.is_empty());
    if let Some(key) = kms_key.as_ref().filter(|key| !is_arn(key, "kms", is_key)) {
        let message = format!("{key:?} is not a key's ARN; write arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias");
        problems.push(Problem::new(at!["volume", "kms_key"], message));
    }
    problems
}

/// Whether this is an ARN of the service, and `is_resource` accepts its last part (IAM User Guide, "Amazon Resource Names").
/// JSON and policies contain it without quoting.
fn is_arn(text: &str, service: &str, is_resource: impl Fn(&str) -> bool) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-:/".contains(&b);
    matches!(&parts[..], ["arn", partition, of, _, account, resource]
        if partition.starts_with("aws") && *of == service && !account.is_empty() && is_resource(resource))
        && text.len() <= 2048
        && text.bytes().all(plain)
}

fn iam(iam: &Iam) -> Vec<Problem> {
    let Iam { role, instance_profile, path, permissions_boundary } = iam;
    let mut problems = Vec::new();
    for (key, name, longest) in [("role", role, 64), ("instance_profile", instance_profile, 128)] {
        let what = name.as_ref().and_then(|name| existing(name, longest));
        problems.extend(what.map(|what| Problem::new(at!["iam", key], what)));
    }
    if let Some(path) = path {
        let is_path = path.len() <= IAM_PATH
            && path.starts_with('/')
            && path.ends_with('/')
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/+=,.@_-".contains(&b));
        let message = format!("{path:?} is not a path; write it with a / at both ends, such as \"/elbow/\"");
        problems.extend((!is_path).then(|| Problem::new(at!["iam", "path"], message)));
        let unused = !iam.owns_profile();
        let message = "has no effect, as Elbow creates neither a role nor an instance profile; remove it";
        problems.extend((is_path && unused).then(|| Problem::new(at!["iam", "path"], message)));
    }
    if let Some(arn) = permissions_boundary {
        let at = || at!["iam", "permissions_boundary"];
        let is_policy = |resource: &str| resource.strip_prefix("policy/").is_some_and(|name| !name.is_empty());
        if !is_arn(arn, "iam", is_policy) {
            let message = format!("{arn:?} is not a policy's ARN; write arn:aws:iam::ACCOUNT:policy/NAME");
            problems.push(Problem::new(at(), message));
        } else if !iam.owns_role() {
            let message = "has no effect, as Elbow doesn't change an existing role; remove it";
            problems.push(Problem::new(at(), message));
        }
    }
    problems
}

/// Why this can't be the name of an existing role or instance profile (IAM User Guide, "IAM name requirements"), if so.
fn existing(name: &str, longest: usize) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if name.is_empty() || name.len() > longest || !name.bytes().all(fits) {
        return Some(format!(
            "{name:?} is not a name; write it without its path or ARN: up to {longest} of a-z, A-Z, 0-9 and +=,.@_-"
        ));
    }
    name.starts_with("elbow-").then(|| format!("{name:?} starts with elbow-, as Elbow's own do; name another one"))
}
