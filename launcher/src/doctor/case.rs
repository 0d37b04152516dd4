//! What the checks look at.

use templates::Balancer;

use super::facts::{Facts, Subnet};
use crate::aws::error::CallFailed;
use crate::model::discover::Surroundings;
use crate::model::observe::Observed;

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
    pub fn subnets(&self) -> Result<Vec<&'a Subnet>, &'a CallFailed> {
        let all = self.facts.subnets.as_ref()?;
        let of = |id: &String| all.iter().find(|subnet| subnet.id == *id);
        Ok(self.balancer.subnets.iter().filter_map(of).collect())
    }
}
