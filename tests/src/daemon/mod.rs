//! The running lab: what it consists of, what it does when the API changes the world, and how it is told to misbehave.

pub mod access;
pub mod api_only;
pub mod fleet;
pub mod lock;
pub mod place;
pub mod protocol;
pub mod rounds;
pub mod socket;
pub mod who;
