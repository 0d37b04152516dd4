//! The agent's two reads of the EC2 API: the balancer's members, and the VPC's route tables.

mod fallback;

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance};
use templates::balancer::RouteTables;
use templates::{Balancer, names};

use crate::aws::ec2::ApiError;
use crate::aws::ids::InstanceId;
use crate::aws::imds::Facts;
use crate::node::member_identity::MemberIdentity;
use crate::node::members::{self, Member, Sighting};
use crate::node::tables::{self, Table};

/// The states of an instance that may still have connections (EC2 User Guide, "Instance state changes").
const LIVE: [&str; 4] = ["pending", "running", "stopping", "shutting-down"];

/// Items per page. EC2 throttles unpaged calls sooner, and allows no larger pages of route tables.
const PAGE: i32 = 100;

pub use fallback::Identified;

/// Reads the API for one node of a balancer.
#[derive(Debug, Clone)]
pub struct Observer {
    client: Client,
    me: InstanceId,
    balancer: String,
    identity: MemberIdentity,
    scope: Arc<RwLock<Scope>>,
}

/// The routes to look for, and the tables to look in. Clones of an observer share it; an in-place update changes it.
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
    /// For the node that `facts` describe, of `balancer`.
    pub fn new(client: Client, balancer: &Balancer, facts: &Facts) -> Self {
        Observer {
            client,
            me: facts.instance.clone(),
            balancer: balancer.name.clone(),
            identity: MemberIdentity::of(balancer, facts),
            scope: Arc::new(RwLock::new(Scope::of(balancer))),
        }
    }

    /// Reads the virtual IPs and tables of `balancer` from now on.
    pub fn set_balancer(&self, balancer: &Balancer) {
        *self.scope.write().unwrap_or_else(PoisonError::into_inner) = Scope::of(balancer);
    }

    /// Reads the members, this node included; `known` are those of earlier reads. A member that shuts down still serves
    /// its connections, and counts until it is off.
    pub async fn members(&self, known: &[Member]) -> Result<Sighting, ApiError> {
        let groups: Vec<&str> = self.identity.groups().iter().map(String::as_str).collect();
        match self.instances("instance.group-id", &groups).await {
            Ok(instances) => Ok(Sighting::listed(members::members(&instances, &self.identity), &self.me)),
            Err(trouble) => self.otherwise(known, trouble).await,
        }
    }

    /// Reads the strangers that carry the balancer's tag.
    pub async fn impostors(&self) -> Result<Vec<InstanceId>, ApiError> {
        let tagged = self.instances(&format!("tag:{}", names::TAG_BALANCER), &[&self.balancer]).await?;
        let strangers = tagged.iter().filter(|instance| !self.identity.has(instance));
        Ok(strangers.filter_map(|instance| instance.instance_id().map(InstanceId::from)).collect())
    }

    async fn instances(&self, name: &str, values: &[&str]) -> Result<Vec<Instance>, ApiError> {
        let call = self.client.describe_instances().filters(filter("vpc-id", &[self.identity.vpc()]));
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

    /// Reads the route tables that get the virtual IPs' routes.
    pub async fn tables(&self) -> Result<Vec<Table>, ApiError> {
        let call = self.client.describe_route_tables().filters(filter("vpc-id", &[self.identity.vpc()]));
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
