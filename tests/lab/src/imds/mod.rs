//! The instance metadata service, version 2, as an instance finds it at 169.254.169.254.
//!
//! The source address identifies an instance. Answers come from the current world, so that a changed tag shows at once.
//! EC2 User Guide, "Instance metadata".

pub mod credentials;
pub mod path;
pub mod server;
#[cfg(test)]
mod server_tests;
pub mod tokens;
pub mod tree;

pub use server::Imds;
