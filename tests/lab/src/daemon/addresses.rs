//! Fixed addresses and names in the lab's VPC.

use std::net::Ipv4Addr;

/// The machine that `lab client` and the prober use.
pub const CLIENT: &str = "client";
/// Its address, in the third zone's subnet.
pub const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 10);

/// The backend targets: name, address.
pub const TARGETS: [(&str, Ipv4Addr); 2] =
    [("target-a", Ipv4Addr::new(10, 0, 1, 20)), ("target-b", Ipv4Addr::new(10, 0, 2, 20))];
pub const TARGET_PORT: u16 = 8080;

/// The instance metadata service (EC2 User Guide, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// AmazonProvidedDNS: the VPC's base address plus two.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The AWS API inside the VPC, like an interface endpoint: one name with an address in each of two zones, given by
/// their last letters.
pub const API: [(char, Ipv4Addr); 2] = [('a', Ipv4Addr::new(10, 0, 0, 3)), ('b', Ipv4Addr::new(10, 0, 0, 5))];
/// The address of downloads and packages; on AWS, a NAT gateway would lead to them.
pub const HOSTS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);

/// The host that instances fetch the agent from.
pub const DOWNLOADS: &str = "downloads.elbow.test";
/// The host that the plain image and the one with dnf install packages from.
pub const PACKAGES: &str = "deb.debian.org";
/// The agent's path on that host.
pub const AGENT_PATH: &str = "/agent";

/// The SSM parameter that names the main image (`tests/lab/moto/seed.py`).
pub const IMAGE_PARAMETER: &str = "/aws/service/elbow-lab/debian-12";
