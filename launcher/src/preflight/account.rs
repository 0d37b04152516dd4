//! Checks what an account prescribes: existing security groups, role and instance profile, and the root volume. Pure.

use templates::Balancer;
use templates::balancer::Volume;

use crate::model::discover::Surroundings;
use crate::resources::image::Image;

/// Every problem of what the file names and Elbow doesn't create.
pub fn problems(balancer: &Balancer, place: &Surroundings) -> Vec<String> {
    let mut problems = groups(balancer, place);
    problems.extend(profile(balancer, place));
    problems.extend(role(balancer, place));
    let root = balancer.volume.as_ref().zip(place.image.as_ref());
    problems.extend(root.and_then(|(volume, image)| root_volume(volume, image)));
    problems
}

/// An extra group of another balancer would make its nodes and these ones answer each other.
fn groups(balancer: &Balancer, place: &Surroundings) -> Vec<String> {
    let problem = |id: &String| {
        let Some(group) = place.existing.groups.iter().find(|group| group.id == *id) else {
            return Some(format!("security group {id} doesn't exist in {}", place.region));
        };
        if group.vpc != balancer.vpc {
            return Some(format!("security group {id} is in {}, not in {}", group.vpc, balancer.vpc));
        }
        let owner = group.tags.balancer()?;
        Some(format!(
            "security group {id} belongs to balancer {owner}: name a group that isn't Elbow's in node.security_groups"
        ))
    };
    balancer.node.security_groups.iter().filter_map(problem).collect()
}

fn profile(balancer: &Balancer, place: &Surroundings) -> Option<String> {
    let name = balancer.iam.instance_profile.as_ref()?;
    let Some(profile) = &place.existing.profile else {
        return Some(format!(
            "instance profile {name} doesn't exist: create it, with a role that has the policies that `launcher render \
             trust-policy` and `launcher render policy` print"
        ));
    };
    match (&profile.role, &balancer.iam.role) {
        (None, _) => Some(format!("instance profile {name} has no role: add one to it")),
        (Some(there), Some(wanted)) if there != wanted => {
            Some(format!("instance profile {name} has role {there}, and iam.role is {wanted}: correct one of them"))
        }
        _ => None,
    }
}

fn role(balancer: &Balancer, place: &Surroundings) -> Option<String> {
    let name = balancer.iam.role.as_ref()?;
    let Some(role) = &place.existing.role else {
        return Some(format!(
            "IAM role {name} doesn't exist: create it with the policies that `launcher render trust-policy` and `launcher \
             render policy` print"
        ));
    };
    (!role.trust.to_string().contains("\"ec2.amazonaws.com\"")).then(|| {
        format!(
            "IAM role {name} doesn't trust EC2: give it the trust policy that `launcher render trust-policy` prints"
        )
    })
}

/// A mapping under another name than the image's would add an empty volume.
fn root_volume(volume: &Volume, image: &Image) -> Option<String> {
    let Volume { device, size, .. } = volume;
    if let Some(root) = image.root_device.as_ref().filter(|root| *root != device) {
        return Some(format!("volume.device is {device}, and the root device of image {} is {root}", image.id));
    }
    let least = image.root_size.and_then(|least| u32::try_from(least).ok())?;
    size.filter(|size| *size < least)
        .map(|size| format!("volume.size is {size} GiB, and image {} needs {least}: write at least {least}", image.id))
}

/// Why a running balancer can't change to `new`, if so: IAM can't rename or move a role, and an instance profile holds one.
pub fn unchangeable(old: &Balancer, new: &Balancer) -> Option<String> {
    if !old.iam.owns_profile() || !new.iam.owns_profile() {
        return None;
    }
    let key = [("iam.path", old.iam.path != new.iam.path), ("iam.role", old.iam.role != new.iam.role)];
    let (key, _) = key.into_iter().find(|(_, differs)| *differs)?;
    Some(format!(
        "{key} can't change while {} runs: name an existing instance profile in iam.instance_profile instead, or run \
         `launcher destroy {0}` and create it again; no client is served meanwhile",
        new.name
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use templates::balancer::Iam;

    use super::*;
    use crate::model::desired::tests::web;
    use crate::model::tags::Tags;
    use crate::preflight::tests::place;
    use crate::resources::instance_profile::Profile;
    use crate::resources::role::Role;
    use crate::resources::security_group::Group;

    fn group(vpc: &str, tags: Tags) -> Group {
        Group { id: "sg-7".into(), name: "shared".into(), vpc: vpc.into(), tags, rules: [].into(), outbound: [].into() }
    }

    #[test]
    fn further_groups_exist_in_the_vpc_and_are_no_balancers() {
        let mut balancer = web();
        balancer.node.security_groups = vec!["sg-7".to_owned()];
        let said = |groups: Vec<Group>| {
            let mut place = place();
            place.existing.groups = groups;
            problems(&balancer, &place).join("; ")
        };
        assert_eq!(said(Vec::new()), "security group sg-7 doesn't exist in eu-west-1");
        assert_eq!(said(vec![group("vpc-2", Tags::default())]), "security group sg-7 is in vpc-2, not in vpc-0a1b2c3d");
        let other = said(vec![group("vpc-0a1b2c3d", Tags::of("api", "vpc-0a1b2c3d"))]);
        assert!(other.starts_with("security group sg-7 belongs to balancer api: "), "{other}");
        assert_eq!(said(vec![group("vpc-0a1b2c3d", Tags::default())]), "");
    }

    #[test]
    fn an_existing_profile_has_the_role_and_the_role_trusts_ec2() {
        let mut balancer = web();
        balancer.iam = Iam { role: Some("nodes".into()), instance_profile: Some("nodes".into()), ..Iam::default() };
        let mut place = place();
        assert_eq!(problems(&balancer, &place).len(), 2);
        let profile =
            |role: Option<&str>| Profile { name: "nodes".into(), tags: Tags::default(), role: role.map(str::to_owned) };
        let role = |trusted: &str| Role {
            name: "nodes".into(),
            tags: Tags::default(),
            trust: json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": trusted}}]}),
            policy: None,
            boundary: None,
        };
        place.existing.role = Some(role("lambda.amazonaws.com"));
        place.existing.profile = Some(profile(Some("other")));
        let said = problems(&balancer, &place);
        assert!(said[0].contains("has role other, and iam.role is nodes"), "{said:?}");
        assert!(said[1].contains("IAM role nodes doesn't trust EC2"), "{said:?}");
        place.existing.role = Some(role("ec2.amazonaws.com"));
        place.existing.profile = Some(profile(None));
        assert!(problems(&balancer, &place)[0].contains("has no role"));
        place.existing.profile = Some(profile(Some("nodes")));
        assert_eq!(problems(&balancer, &place), [] as [&str; 0]);
    }

    #[test]
    fn a_volume_is_the_images_root_device_and_large_enough() {
        let said = |device: &str, size: u32| {
            let volume = Volume { device: device.to_owned(), size: Some(size), kms_key: None };
            problems(&Balancer { volume: Some(volume), ..web() }, &place()).join("; ")
        };
        assert_eq!(
            said("/dev/sda1", 20),
            "volume.device is /dev/sda1, and the root device of image ami-0a1b2c3d is /dev/xvda"
        );
        assert_eq!(said("/dev/xvda", 7), "volume.size is 7 GiB, and image ami-0a1b2c3d needs 8: write at least 8");
        assert_eq!(said("/dev/xvda", 8), "");
    }

    #[test]
    fn a_role_is_neither_moved_nor_exchanged_in_a_profile_that_nodes_use() {
        let with = |iam: Iam| Balancer { iam, ..web() };
        let (path, role) = (Some("/elbow/".to_owned()), Some("nodes".to_owned()));
        let moved = with(Iam { path, ..Iam::default() });
        let exchanged = with(Iam { role, ..Iam::default() });
        assert!(
            unchangeable(&web(), &moved).is_some_and(|said| said.starts_with("iam.path can't change while web runs"))
        );
        assert!(unchangeable(&web(), &exchanged).is_some_and(|said| said.starts_with("iam.role")));
        let existing = with(Iam { instance_profile: Some("nodes".into()), ..Iam::default() });
        assert_eq!(unchangeable(&moved, &existing), None);
        assert_eq!(unchangeable(&web(), &web()), None);
    }
}
