//! One file for each kind of AWS resource, with the calls that find, create and delete it. Absence is a value, not an
//! error.

pub mod bucket;
pub mod gateways;
pub mod image;
pub mod instance_profile;
pub mod instance_refresh;
pub mod instance_type;
pub mod instances;
pub mod launch_template;
pub mod leftovers;
pub mod network;
pub mod retag;
pub mod role;
pub mod route_tables;
pub mod scaling_group;
pub mod security_group;
pub mod tagging;
