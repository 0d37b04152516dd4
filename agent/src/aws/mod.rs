//! The agent's clients for the EC2 API and the instance metadata service, and the ids of both.

pub mod ec2;
pub mod ids;
pub mod imds;
