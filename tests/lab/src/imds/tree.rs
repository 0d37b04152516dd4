//! An instance's metadata as a tree of paths (EC2 User Guide, "Instance metadata categories"). Paths that don't apply
//! to the instance are missing and answered with 404, as on AWS.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{Instance, Interface, World};

/// The content at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Text, or the bytes of the user data.
    Bytes(Vec<u8>),
    /// Credentials of this role, requested when the path is read.
    Credentials(String),
}

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<'a> {
    Leaf(&'a Leaf),
    /// A folder: the names in it, one per line, folders with a `/` at the end.
    Folder(String),
    Nothing,
}

/// All paths, without the version, and their content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    leaves: BTreeMap<String, Leaf>,
}

impl Tree {
    pub fn of(world: &World, instance: &Instance) -> Tree {
        let mut tree = Tree::default();
        tree.identity(world, instance);
        tree.placement(world, instance);
        if let Some(interface) = instance.interface.as_deref().and_then(|id| world.interface(id)) {
            tree.interface(world, interface);
        }
        tree.role(instance);
        if let Some(state) = &instance.target_lifecycle_state {
            tree.put("meta-data/autoscaling/target-lifecycle-state", state);
        }
        if instance.metadata_tags {
            for (key, value) in &instance.tags {
                tree.put(format!("meta-data/tags/instance/{key}"), value);
            }
        }
        if let Some(data) = instance.user_data.as_deref().and_then(|data| STANDARD.decode(data.trim()).ok()) {
            tree.leaves.insert("user-data".into(), Leaf::Bytes(data));
        }
        tree
    }

    /// Sets the text at a path.
    pub fn put(&mut self, path: impl Into<String>, text: impl AsRef<str>) {
        self.leaves.insert(path.into(), Leaf::Bytes(text.as_ref().as_bytes().to_vec()));
    }

    /// Looks up a path. Only a folder's path may end in `/`.
    pub fn find(&self, path: &str) -> Lookup<'_> {
        if let Some(leaf) = self.leaves.get(path) {
            return Lookup::Leaf(leaf);
        }
        let folder = match path.trim_end_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let mut names: Vec<&str> = self
            .leaves
            .range(folder.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&folder))
            .map(|rest| rest.find('/').map_or(rest, |end| &rest[..=end]))
            .collect();
        names.dedup();
        // AWS lists the top-level categories without a slash.
        let names = match folder.as_str() {
            "" => names.join("\n").replace('/', ""),
            _ => names.join("\n"),
        };
        if names.is_empty() { Lookup::Nothing } else { Lookup::Folder(names) }
    }

    fn identity(&mut self, world: &World, instance: &Instance) {
        let mut put = |path: &str, text: &str| self.put(format!("meta-data/{path}"), text);
        put("ami-id", &instance.image);
        put("ami-launch-index", &instance.launch_index.to_string());
        put("ami-manifest-path", "(unknown)");
        put("block-device-mapping/ami", "/dev/xvda");
        put("block-device-mapping/root", "/dev/xvda");
        put("instance-action", "none");
        put("instance-id", &instance.id);
        put("instance-life-cycle", "on-demand");
        put("instance-type", &instance.instance_type);
        put("profile", "default-hvm");
        put("reservation-id", &instance.reservation);
        put("services/domain", "amazonaws.com");
        put("services/partition", "aws");
        put("system", "nitro");
        self.put("dynamic/instance-identity/document", pretty(&document(world, instance)));
    }

    fn placement(&mut self, world: &World, instance: &Instance) {
        self.put("meta-data/placement/availability-zone", &instance.zone);
        self.put("meta-data/placement/region", &world.region);
        let subnet = instance.subnet.as_deref().and_then(|id| world.subnet(id));
        if let Some(zone_id) = subnet.and_then(|subnet| subnet.zone_id.as_deref()) {
            self.put("meta-data/placement/availability-zone-id", zone_id);
        }
    }

    fn interface(&mut self, world: &World, interface: &Interface) {
        let name = host_name(interface.address, &world.region);
        let address = interface.address.to_string();
        let groups: Vec<&str> =
            interface.groups.iter().filter_map(|id| world.security_group(id)).map(|g| g.name.as_str()).collect();
        for (path, text) in [
            ("hostname", &name),
            ("local-hostname", &name),
            ("local-ipv4", &address),
            ("mac", &interface.mac),
            ("security-groups", &groups.join("\n")),
        ] {
            self.put(format!("meta-data/{path}"), text);
        }
        let mut put = |path: &str, text: &str| {
            self.put(format!("meta-data/network/interfaces/macs/{}/{path}", interface.mac), text)
        };
        put("device-number", "0");
        put("interface-id", &interface.id);
        put("local-hostname", &name);
        put("local-ipv4s", &address);
        put("mac", &interface.mac);
        put("owner-id", &world.account);
        put("security-group-ids", &interface.groups.join("\n"));
        put("security-groups", &groups.join("\n"));
        put("subnet-id", &interface.subnet);
        put("vpc-id", &interface.vpc);
        if let Some(subnet) = world.subnet(&interface.subnet) {
            put("subnet-ipv4-cidr-block", &subnet.cidr.to_string());
        }
        if let Some(vpc) = world.vpc(&interface.vpc) {
            let cidrs: Vec<String> = vpc.cidrs.iter().map(ToString::to_string).collect();
            put("vpc-ipv4-cidr-block", cidrs.first().map_or("", String::as_str));
            put("vpc-ipv4-cidr-blocks", &cidrs.join("\n"));
        }
    }

    fn role(&mut self, instance: &Instance) {
        let Some(role) = &instance.role else { return };
        let path = format!("meta-data/iam/security-credentials/{role}");
        self.leaves.insert(path, Leaf::Credentials(role.clone()));
        if let Some(profile) = &instance.profile_arn {
            let info = json!({
                "Code": "Success", "LastUpdated": seconds(instance.launched), "InstanceProfileArn": profile,
            });
            self.put("meta-data/iam/info", pretty(&info));
        }
    }
}

/// The identity document: EC2 User Guide, "Instance identity documents".
fn document(world: &World, instance: &Instance) -> Value {
    // Graviton types have a g after their generation: t4g and m7gd, but not g5.
    let family = instance.instance_type.split('.').next().unwrap_or_default();
    let graviton = family.trim_start_matches(|c: char| c.is_ascii_lowercase()).contains('g');
    json!({
        "accountId": world.account,
        "architecture": if graviton { "arm64" } else { "x86_64" },
        "availabilityZone": instance.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": instance.image,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "kernelId": null,
        "pendingTime": seconds(instance.launched),
        "privateIp": instance.address,
        "ramdiskId": null,
        "region": world.region,
        "version": "2017-09-30",
    })
}

/// The name that the VPC's resolver has for an address: Amazon VPC User Guide, "DNS attributes for your VPC".
pub fn host_name(address: std::net::Ipv4Addr, region: &str) -> String {
    let [a, b, c, d] = address.octets();
    let domain = match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    };
    format!("ip-{a}-{b}-{c}-{d}.{domain}")
}

/// A time in IMDS's format, in whole seconds.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// JSON in IMDS's format.
pub fn pretty(json: &Value) -> String {
    format!("{json:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imds::server::testing::world;

    fn text(tree: &Tree, path: &str) -> String {
        match tree.find(path) {
            Lookup::Leaf(Leaf::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
            Lookup::Folder(names) => names,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_tree_has_the_instance_and_its_interface() {
        let world = world();
        let tree = Tree::of(&world, &world.instances[0]);
        let mac = "meta-data/network/interfaces/macs/02:00:00:00:00:01";
        for (path, expected) in [
            ("meta-data/instance-id", "i-1"),
            ("meta-data/local-hostname", "ip-127-0-0-5.eu-west-1.compute.internal"),
            ("meta-data/placement/availability-zone", "eu-west-1a"),
            ("meta-data/placement/availability-zone-id", "euw1-az3"),
            ("meta-data/security-groups", "elbow-web"),
            ("meta-data/services/domain", "amazonaws.com"),
            ("meta-data/network/interfaces/macs/", "02:00:00:00:00:01/"),
            (&format!("{mac}/interface-id"), "eni-1"),
            (&format!("{mac}/vpc-ipv4-cidr-blocks"), "10.0.0.0/16\n10.1.0.0/16"),
            ("user-data", "#cloud-config\n"),
        ] {
            assert_eq!(text(&tree, path), expected, "{path}");
        }
        let document: Value = serde_json::from_str(&text(&tree, "dynamic/instance-identity/document")).unwrap();
        assert_eq!((&document["instanceId"], &document["architecture"]), (&json!("i-1"), &json!("x86_64")));
        assert_eq!((&document["accountId"], &document["region"]), (&json!("123456789012"), &json!("eu-west-1")));
        assert_eq!(document["pendingTime"], json!("2026-01-02T03:04:05Z"));
    }

    #[test]
    fn folders_are_listed_with_or_without_their_slash_and_leaves_without() {
        let world = world();
        let tree = Tree::of(&world, &world.instances[0]);
        assert_eq!(text(&tree, ""), "dynamic\nmeta-data\nuser-data");
        assert_eq!(text(&tree, "meta-data/placement"), "availability-zone\navailability-zone-id\nregion");
        assert_eq!(text(&tree, "meta-data/placement"), text(&tree, "meta-data/placement/"));
        assert_eq!(text(&tree, "meta-data/iam/security-credentials/"), "elbow-web");
        assert_eq!(text(&tree, "meta-data/tags/instance/"), "elbow:balancer\nelbow:vpc");
        let names = text(&tree, "meta-data/");
        assert!(names.contains("\ninstance-id\n") && names.contains("\nnetwork/\n"), "{names}");
        for path in ["meta-data/instance-id/", "meta-data/public-keys/", "meta-data/spot/instance-action", "meta"] {
            assert_eq!(tree.find(path), Lookup::Nothing, "{path}");
        }
    }

    #[test]
    fn an_instance_of_an_auto_scaling_group_has_a_target_lifecycle_state() {
        let mut world = world();
        let path = "meta-data/autoscaling/target-lifecycle-state";
        assert_eq!(Tree::of(&world, &world.instances[0]).find(path), Lookup::Nothing);
        world.instances[0].target_lifecycle_state = Some("Terminated".into());
        assert_eq!(text(&Tree::of(&world, &world.instances[0]), path), "Terminated");
    }

    #[test]
    fn tags_a_role_and_user_data_are_shown_only_if_the_instance_has_them() {
        let mut world = world();
        let instance = &mut world.instances[0];
        (instance.metadata_tags, instance.role, instance.user_data) = (false, None, None);
        let tree = Tree::of(&world, &world.instances[0]);
        for path in ["meta-data/tags/", "meta-data/tags/instance/elbow:vpc", "meta-data/iam/", "user-data"] {
            assert_eq!(tree.find(path), Lookup::Nothing, "{path}");
        }
        assert!(!text(&tree, "meta-data/").contains("tags"));
    }
}
