//! A balancer's file, desired state (`desired`), observed state (`observe`), surroundings (`discover`), nodes, and the
//! subnets' ways out (`ways`).

pub mod agent_store;
pub mod balancer_file;
pub mod desired;
pub mod discover;
pub mod group_settings;
pub mod identity;
pub mod local_agents;
pub mod node;
pub mod node_selector;
pub mod node_status;
pub mod observe;
pub mod operator_tags;
pub mod tags;
pub mod vip_claims;
pub mod ways;
