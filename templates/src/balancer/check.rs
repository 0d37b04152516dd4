//! What a balancer must be beyond its shape. Pure: what only AWS knows is the launcher's to check.

use super::Balancer;
use super::place::Path;

/// Something that can't be, and where it stands.
pub struct Problem {
    pub path: Path,
    pub message: String,
}

/// The first thing that is wrong, in the order of the file.
pub fn first_problem(_balancer: &Balancer) -> Option<Problem> {
    None
}
