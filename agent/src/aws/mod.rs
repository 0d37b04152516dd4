//! AWS as the agent uses it: the EC2 API, the instance metadata service, and the ids of both.

pub mod ec2;
pub mod ids;
pub mod imds;
