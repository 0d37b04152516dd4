//! What the checks look at beside the file, its surroundings and the balancer's resources. Reading a part may have failed.

use std::net::Ipv4Addr;

use super::access_lists::AccessList;
use crate::aws::error::CallFailed;
use crate::resources::gateways::{Endpoint, Nat};
use crate::resources::security_group::Group;

/// What a call returned, or why it failed.
pub type Read<T> = Result<T, CallFailed>;

#[derive(Debug)]
pub struct Facts {
    /// The calls that `create` would make, and whether the caller may.
    pub permissions: Vec<Permission>,
    /// The VPC's NAT gateways that are available.
    pub nats: Read<Vec<Nat>>,
    /// The VPC's endpoints that are available.
    pub endpoints: Read<Vec<Endpoint>>,
    pub dns: Read<Dns>,
    /// All network ACLs of the VPC.
    pub access_lists: Read<Vec<AccessList>>,
    /// The network interfaces with targets' addresses.
    pub interfaces: Read<Vec<Interface>>,
    /// The security groups of these interfaces and of the endpoints.
    pub groups: Read<Vec<Group>>,
    /// The transit gateways to which the VPC is attached.
    pub transit_gateways: Read<Vec<String>>,
    /// The VPC's active peering connections.
    pub peerings: Read<Vec<String>>,
    /// The virtual private gateways that are attached to the VPC.
    pub private_gateways: Read<Vec<String>>,
}

/// Whether the caller may make a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// As IAM policies write it: `ec2:RunInstances`.
    pub action: String,
    pub answer: Answer,
}

/// AWS's answer about a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    /// With AWS's reason.
    Denied(String),
    /// Why it isn't known.
    Unclear(String),
}

/// The VPC's DNS attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dns {
    /// `enableDnsSupport`
    pub support: bool,
    /// `enableDnsHostnames`
    pub hostnames: bool,
}

/// A network interface of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub addresses: Vec<Ipv4Addr>,
    /// Its security groups.
    pub groups: Vec<String>,
}
