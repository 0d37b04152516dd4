//! Reads what a balancer file names and the launcher doesn't create: VPC, subnets, route tables, image, instance type.

use templates::Balancer;

use crate::aws::Aws;
use crate::aws::error::CallFailed;
use crate::model::agent_store::AgentStore;
use crate::model::vip_claims::{self, Claim};
use crate::resources::image::{self, Image};
use crate::resources::instance_profile::{self, Profile};
use crate::resources::instance_type::{self, InstanceType};
use crate::resources::network::{self, Caller, Subnet, Vpc};
use crate::resources::role::{self, Role};
use crate::resources::route_tables::{self, Table};
use crate::resources::security_group::{self, Group};

/// A balancer's surroundings. What the file names and AWS doesn't have is absent.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub region: String,
    pub caller: Caller,
    pub vpc: Option<Vpc>,
    /// All subnets of the VPC, and those of the file in other VPCs.
    pub subnets: Vec<Subnet>,
    /// All route tables of the VPC.
    pub tables: Vec<Table>,
    /// The resolved image id; none if its parameter doesn't exist.
    pub image_id: Option<String>,
    /// The image itself.
    pub image: Option<Image>,
    pub instance_type: Option<InstanceType>,
    /// The claims of the VPC's other balancers.
    pub others: Vec<Claim>,
    pub existing: Existing,
    /// Elbow's bucket, if nodes get the agent there.
    pub store: Option<AgentStore>,
}

/// What the file names of others for its nodes, as far as it exists.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    pub groups: Vec<Group>,
    pub role: Option<Role>,
    /// The instance profile.
    pub profile: Option<Profile>,
}

impl Existing {
    async fn find(aws: &Aws, balancer: &Balancer) -> Result<Existing, CallFailed> {
        let groups = security_group::listed(&aws.ec2, &balancer.node.security_groups);
        let role = async {
            match &balancer.iam.role {
                Some(name) => role::find(&aws.iam, name).await,
                None => Ok(None),
            }
        };
        let profile = async {
            match &balancer.iam.instance_profile {
                Some(name) => instance_profile::find(&aws.iam, name).await,
                None => Ok(None),
            }
        };
        let (groups, role, profile) = futures::try_join!(groups, role, profile)?;
        Ok(Existing { groups, role, profile })
    }
}

/// Reads everything concurrently, and Elbow's bucket after that: its name holds the account.
pub async fn discover(aws: &Aws, balancer: &Balancer) -> Result<Surroundings, CallFailed> {
    let image = async {
        let id = image::resolve(&aws.ssm, &balancer.image).await?;
        let image = match &id {
            Some(id) => image::find(&aws.ec2, id).await?,
            None => None,
        };
        Ok((id, image))
    };
    let (caller, vpc, subnets, tables, (image_id, image), instance_type, others, existing) = futures::try_join!(
        network::caller(&aws.sts),
        network::vpc(&aws.ec2, &balancer.vpc),
        network::subnets(&aws.ec2, &balancer.vpc, &balancer.subnets),
        route_tables::find(&aws.ec2, &balancer.vpc),
        image,
        instance_type::find(&aws.ec2, &balancer.instance_type),
        vip_claims::find(aws, &balancer.vpc, &balancer.name, &balancer.virtual_ips),
        Existing::find(aws, balancer),
    )?;
    let store = match balancer.uses_bucket() {
        true => Some(AgentStore::find(aws, balancer, &caller.account, image.as_ref()).await?),
        false => None,
    };
    let region = aws.region.clone();
    Ok(Surroundings { region, caller, vpc, subnets, tables, image_id, image, instance_type, others, existing, store })
}
