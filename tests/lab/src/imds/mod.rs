//! The instance metadata service, version 2, as an instance finds it at 169.254.169.254.
//!
//! An instance is known by its address. What it is told comes from the world at that moment, so that a changed tag
//! shows at once. `tree` is what there is to be told; `server` tells it. EC2 User Guide, "Instance metadata".

pub mod credentials;
pub mod path;
pub mod server;
#[cfg(test)]
mod server_tests;
pub mod tokens;
pub mod tree;

pub use server::Imds;
