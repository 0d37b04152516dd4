//! An instance's root file system: an overlay over an image.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The specification of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its ID, `i-…`.
    pub id: String,
    /// The image's root file system, read-only.
    pub image: PathBuf,
    /// Its network interface.
    pub interface: String,
    /// Its address, which gives its host name.
    pub address: Ipv4Addr,
    /// The Region, which gives its domain.
    pub region: String,
    /// The VPC's resolver.
    pub resolver: Ipv4Addr,
    /// The PEM file of a certificate authority that it trusts.
    pub ca: Option<PathBuf>,
}

impl Spec {
    /// Its host name in EC2's format: `ip-10-0-1-10`.
    pub fn host_name(&self) -> String {
        format!("ip-{}", self.address.to_string().replace('.', "-"))
    }

    /// Its machine ID, the same at each boot.
    pub(super) fn uuid(&self) -> String {
        let hash = hex::encode(Sha256::digest(&self.id));
        [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]].join("-")
    }

    fn domain(&self) -> String {
        // us-east-1 has a different domain (Amazon VPC User Guide, "DNS attributes").
        if self.region == "us-east-1" { "ec2.internal".into() } else { format!("{}.compute.internal", self.region) }
    }
}

/// Creates the overlay's folders, resolv.conf and trusted certificates.
pub(super) fn prepare(folder: &Path, spec: &Spec) -> Result<()> {
    for name in ["disk/upper", "disk/work", "root"] {
        fs::create_dir_all(folder.join(name)).with_context(|| format!("creating {name} for {}", spec.id))?;
    }
    // cloud-init recognizes EC2 by this start of the hypervisor's UUID, and then requests IMDSv2 tokens.
    put(&folder.join("hypervisor/uuid"), &format!("ec2{}\n", &spec.uuid()[3..]))?;
    let upper = folder.join("disk/upper");
    put(&upper.join("etc/resolv.conf"), &format!("nameserver {}\nsearch {}\n", spec.resolver, spec.domain()))?;
    let Some(ca) = &spec.ca else { return Ok(()) };
    let ca = fs::read_to_string(ca).with_context(|| format!("reading the lab's authority {}", ca.display()))?;
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let trusted = spec.image.join(bundle);
    let trusted = fs::read_to_string(&trusted).with_context(|| format!("reading {}", trusted.display()))?;
    put(&upper.join(bundle), &format!("{trusted}{ca}"))?;
    // From here, it gets into the bundle again when an upgrade rebuilds that.
    put(&upper.join("usr/local/share/ca-certificates/elbow-lab.crt"), &ca)
}

fn put(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().with_context(|| format!("{}: no parent folder", path.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            id: "i-0123".into(),
            image: "/image".into(),
            interface: "eni-1".into(),
            address: Ipv4Addr::new(10, 0, 1, 10),
            region: "eu-west-1".into(),
            resolver: Ipv4Addr::new(10, 0, 0, 2),
            ca: None,
        }
    }

    #[test]
    fn an_instance_is_named_as_ec2_names_it() {
        assert_eq!(spec().host_name(), "ip-10-0-1-10");
        assert_eq!(spec().domain(), "eu-west-1.compute.internal");
    }

    #[test]
    fn a_machine_id_is_unique_and_stable() {
        assert_eq!(spec().uuid(), spec().uuid());
        assert_ne!(spec().uuid(), Spec { id: "i-4567".into(), ..spec() }.uuid());
        assert_eq!(spec().uuid().len(), 36);
    }

    #[test]
    fn an_authority_is_trusted_along_with_the_images_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        put(&path("image/etc/ssl/certs/ca-certificates.crt"), "THEIRS\n").unwrap();
        put(&path("ca.pem"), "OURS\n").unwrap();
        prepare(folder.path(), &Spec { image: path("image"), ca: Some(path("ca.pem")), ..spec() }).unwrap();
        let bundle = fs::read_to_string(path("disk/upper/etc/ssl/certs/ca-certificates.crt")).unwrap();
        assert_eq!(bundle, "THEIRS\nOURS\n");
        assert!(fs::read_to_string(path("hypervisor/uuid")).unwrap().starts_with("ec2"));
    }
}
