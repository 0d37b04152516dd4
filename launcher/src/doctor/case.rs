//! What the checks look at.

use templates::Balancer;

use super::facts::Facts;
use super::finding::Status;
use crate::model::discover::Surroundings;
use crate::model::observe::Observed;
use crate::resources::network::Subnet;

/// All that the checks look at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub balancer: &'a Balancer,
    pub place: &'a Surroundings,
    pub observed: &'a Observed,
    pub facts: &'a Facts,
}

impl<'a> Case<'a> {
    /// The nodes' subnets that exist in the VPC, in the file's order.
    pub fn subnets(&self) -> Vec<&'a Subnet> {
        let all = self.vpc_subnets();
        let of = |id: &String| all.iter().copied().find(|subnet| subnet.id == *id);
        self.balancer.subnets.iter().filter_map(of).collect()
    }

    /// The number of nodes that are to be launched.
    pub fn missing(&self) -> usize {
        self.balancer.subnets.len().saturating_sub(self.observed.live().count())
    }

    /// How grave it is if only a booting node can't serve.
    pub fn at_boot(&self) -> Status {
        if self.missing() > 0 { Status::Problem } else { Status::Warning }
    }

    /// All subnets of the VPC.
    pub fn vpc_subnets(&self) -> Vec<&'a Subnet> {
        self.place.subnets.iter().filter(|subnet| subnet.vpc == self.balancer.vpc).collect()
    }
}
