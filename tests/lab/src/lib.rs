//! The lab: a VPC on one machine. Instances are containers that boot systemd, the router forwards by the VPC's route
//! tables, and the AWS API is moto behind a recording proxy. The launcher and the agent run in it unchanged.

pub mod api;
pub mod bystander;
pub mod chaos;
pub mod cli;
pub mod clients;
pub mod daemon;
pub mod dir;
pub mod dns;
pub mod files;
pub mod image;
pub mod imds;
pub mod instance;
pub mod manual_changes;
pub mod moto;
pub mod network;
pub mod observations;
pub mod prober;
pub mod rig;
pub mod serving;
pub mod stage;
pub mod sweep;
pub mod targets;
pub mod tls;
pub mod world;
