//! The stable id of each check. docs/failure-guide.md has a section for each.

use std::fmt;
use std::str::FromStr;

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Credentials,
    Permissions,
    Name,
    Vpc,
    VirtualIps,
    Subnets,
    ImageAndType,
    Agent,
    RouteTables,
    RunningRevision,
    SubnetAddresses,
    SubnetApi,
    AutoScalingApi,
    SubnetS3,
    Internet,
    EndpointGroups,
    VpcDns,
    OutboundRules,
    NetworkAcls,
    TargetNetworkAcls,
    TargetSecurityGroups,
    EdgeTables,
    TransitGateways,
    Peerings,
    PrivateGateways,
    TerraformTables,
    RoutesPerTable,
    SecurityGroupRules,
    VcpuQuota,
    Drift,
}

/// Where each id is explained.
const GUIDE: &str = "docs/failure-guide.md";

impl Id {
    /// Every id, in the order of the checks.
    pub const ALL: [Id; 30] = [
        Id::Credentials,
        Id::Permissions,
        Id::Name,
        Id::Vpc,
        Id::VirtualIps,
        Id::Subnets,
        Id::ImageAndType,
        Id::Agent,
        Id::RouteTables,
        Id::RunningRevision,
        Id::SubnetAddresses,
        Id::SubnetApi,
        Id::AutoScalingApi,
        Id::SubnetS3,
        Id::Internet,
        Id::EndpointGroups,
        Id::VpcDns,
        Id::OutboundRules,
        Id::NetworkAcls,
        Id::TargetNetworkAcls,
        Id::TargetSecurityGroups,
        Id::EdgeTables,
        Id::TransitGateways,
        Id::Peerings,
        Id::PrivateGateways,
        Id::TerraformTables,
        Id::RoutesPerTable,
        Id::SecurityGroupRules,
        Id::VcpuQuota,
        Id::Drift,
    ];

    /// The id as text.
    pub fn name(self) -> &'static str {
        match self {
            Id::Credentials => "credentials",
            Id::Permissions => "permissions",
            Id::Name => "name",
            Id::Vpc => "vpc",
            Id::VirtualIps => "virtual-ips",
            Id::Subnets => "subnets",
            Id::ImageAndType => "image-and-type",
            Id::Agent => "agent",
            Id::RouteTables => "route-tables",
            Id::RunningRevision => "running-revision",
            Id::SubnetAddresses => "subnet-addresses",
            Id::SubnetApi => "subnet-api",
            Id::AutoScalingApi => "auto-scaling-api",
            Id::SubnetS3 => "subnet-s3",
            Id::Internet => "internet",
            Id::EndpointGroups => "endpoint-groups",
            Id::VpcDns => "vpc-dns",
            Id::OutboundRules => "outbound-rules",
            Id::NetworkAcls => "network-acls",
            Id::TargetNetworkAcls => "target-network-acls",
            Id::TargetSecurityGroups => "target-security-groups",
            Id::EdgeTables => "edge-tables",
            Id::TransitGateways => "transit-gateways",
            Id::Peerings => "peerings",
            Id::PrivateGateways => "private-gateways",
            Id::TerraformTables => "terraform-tables",
            Id::RoutesPerTable => "routes-per-table",
            Id::SecurityGroupRules => "security-group-rules",
            Id::VcpuQuota => "vcpu-quota",
            Id::Drift => "drift",
        }
    }

    /// The section that explains it.
    pub fn guide(self) -> String {
        format!("{GUIDE}#{}", self.name())
    }

    /// Whether a problem of this check prevents nodes from serving. `create` warns of the others and continues: a
    /// closed target must not prevent the replacement of a lost node.
    pub fn stops_create(self) -> bool {
        !matches!(self, Id::TargetSecurityGroups | Id::TargetNetworkAcls | Id::Drift)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let found = Id::ALL.into_iter().find(|id| id.name() == text);
        found.ok_or_else(|| format!("no check has this id; {GUIDE} lists them"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::Id;

    /// The names of the guide's sections about checks: the headings of the third level below "What `doctor` finds".
    fn sections() -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/failure-guide.md");
        let guide = std::fs::read_to_string(path).unwrap();
        let part = guide.split("\n## What `doctor` finds\n").nth(1).expect("the guide has the part");
        let part = part.split("\n## ").next().unwrap_or_default();
        part.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect()
    }

    #[test]
    fn each_id_has_its_section_in_the_failure_guide() {
        let ids: Vec<String> = Id::ALL.map(|id| id.name().to_owned()).into();
        assert_eq!(sections(), ids);
        assert_eq!(BTreeSet::from(Id::ALL).len(), Id::ALL.len(), "an id is listed twice");
    }
}
