//! The two reads of the API that the agent lives on: its balancer's members, and the VPC's route tables.

mod otherwise;

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance};
use templates::balancer::RouteTables;
use templates::{Balancer, names};

use crate::aws::ec2::ApiError;
use crate::aws::ids::InstanceId;
use crate::aws::imds::Facts;
use crate::node::lineage::Lineage;
use crate::node::members::{self, Member, Sighting};
use crate::node::tables::{self, Table};

/// The states of an instance that may still have connections (EC2 User Guide, "Instance state changes").
const LIVE: [&str; 4] = ["pending", "running", "stopping", "shutting-down"];

/// Things in one answer: EC2 throttles unpaged calls sooner. No more are allowed for route tables.
const PAGE: i32 = 100;

pub use otherwise::Identified;

/// What is read about, and by whom.
#[derive(Debug, Clone)]
pub struct Observer {
    client: Client,
    me: InstanceId,
    balancer: String,
    lineage: Lineage,
    scope: Arc<RwLock<Scope>>,
}

/// Which routes are looked for, and where; shared by all who observe, and changed by an update.
#[derive(Debug)]
struct Scope {
    route_tables: RouteTables,
    vips: Vec<Ipv4Addr>,
}

impl Scope {
    fn of(balancer: &Balancer) -> Scope {
        Scope { route_tables: balancer.route_tables.clone(), vips: balancer.virtual_ips.clone() }
    }
}

impl Observer {
    /// Reads what concerns `balancer` from where this node stands.
    pub fn new(client: Client, balancer: &Balancer, facts: &Facts) -> Self {
        Observer {
            client,
            me: facts.instance.clone(),
            balancer: balancer.name.clone(),
            lineage: Lineage::of(balancer, facts),
            scope: Arc::new(RwLock::new(Scope::of(balancer))),
        }
    }

    /// Looks for what `balancer` has from now on.
    pub fn follow(&self, balancer: &Balancer) {
        *self.scope.write().unwrap_or_else(PoisonError::into_inner) = Scope::of(balancer);
    }

    /// The members, this node included, some of which are `known` from before. One that shuts down still serves what it
    /// has, and counts until it is off.
    pub async fn members(&self, known: &[Member]) -> Result<Sighting, ApiError> {
        let groups: Vec<&str> = self.lineage.groups().iter().map(String::as_str).collect();
        match self.instances("instance.group-id", &groups).await {
            Ok(instances) => Ok(Sighting::listed(members::members(&instances, &self.lineage), &self.me)),
            Err(trouble) => self.otherwise(known, trouble).await,
        }
    }

    /// Instances that carry the balancer's tags, and are none of its nodes.
    pub async fn impostors(&self) -> Result<Vec<InstanceId>, ApiError> {
        let tagged = self.instances(&format!("tag:{}", names::TAG_BALANCER), &[&self.balancer]).await?;
        let strangers = tagged.iter().filter(|instance| !self.lineage.has(instance));
        Ok(strangers.filter_map(|instance| instance.instance_id().map(InstanceId::from)).collect())
    }

    async fn instances(&self, name: &str, values: &[&str]) -> Result<Vec<Instance>, ApiError> {
        let call = self.client.describe_instances().filters(filter("vpc-id", &[self.lineage.vpc()]));
        let call = call.filters(filter("instance-state-name", &LIVE)).filters(filter(name, values));
        let mut pages = call.into_paginator().page_size(PAGE).send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ApiError::of("DescribeInstances", &error))?;
            for reservation in page.reservations.unwrap_or_default() {
                instances.extend(reservation.instances.unwrap_or_default());
            }
        }
        Ok(instances)
    }

    /// The route tables that are to have the virtual IPs' routes.
    pub async fn tables(&self) -> Result<Vec<Table>, ApiError> {
        let call = self.client.describe_route_tables().filters(filter("vpc-id", &[self.lineage.vpc()]));
        let mut pages = call.into_paginator().page_size(PAGE).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ApiError::of("DescribeRouteTables", &error))?;
            found.extend(page.route_tables.unwrap_or_default());
        }
        let scope = self.scope.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables::eligible(&found, &scope.route_tables, &scope.vips))
    }
}

fn filter(name: &str, values: &[&str]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.iter().map(|value| value.to_string()).collect())).build()
}

#[cfg(test)]
mod tests;
