//! A run's id, and the names and addresses that follow from it: everything is found again by the id alone.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use launcher::model::tags::Tags;

/// The key of the tag that everything of a run has; its value is the run's id.
pub const TAG: &str = "elbow-prove";

/// One run of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// 8 hex digits.
    pub id: String,
    number: u32,
}

impl Run {
    /// A run with an id of its own.
    pub fn new() -> Run {
        Run::numbered(rand::random())
    }

    /// The run of this id.
    pub fn of(id: &str) -> Result<Run> {
        let number = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 8);
        let run = number.map(Run::numbered).filter(|run| run.id == id);
        ensure!(run.is_some(), "{id:?} isn't a run's id; use the 8 hex digits that the run printed");
        Ok(run.expect("it was checked"))
    }

    fn numbered(number: u32) -> Run {
        Run { id: format!("{number:08x}"), number }
    }

    /// The tags of everything that the run makes, except for the balancer's resources, which have Elbow's.
    pub fn tags(&self) -> Tags {
        Tags::from_iter([(TAG, self.id.clone()), ("Name", self.name())])
    }

    /// The name of its security group, role and instance profile.
    pub fn name(&self) -> String {
        format!("{TAG}-{}", self.id)
    }

    /// The name of its balancer. Elbow calls the balancer's parts `elbow-<name>`, so this isn't `prove-…`.
    pub fn balancer(&self) -> String {
        format!("proof-{}", self.id)
    }

    /// The probes move the route of this address. Runs at the same time have different addresses.
    pub fn virtual_ip(&self) -> Ipv4Addr {
        let [.., a, b] = self.number.to_be_bytes();
        Ipv4Addr::new(10, 255, 128 | a, b & 0xfe)
    }

    /// The balancer's virtual IP.
    pub fn balancer_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.virtual_ip()) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_follows_from_the_id() {
        let run = Run::of("0a1b2cff").unwrap();
        assert_eq!((run.name().as_str(), run.balancer().as_str()), ("elbow-prove-0a1b2cff", "proof-0a1b2cff"));
        assert_eq!(run.virtual_ip().to_string(), "10.255.172.254");
        assert_eq!(run.balancer_ip().to_string(), "10.255.172.255");
        let new = Run::new();
        assert_eq!(Run::of(&new.id).unwrap(), new);
        assert!(templates::names::check(&new.balancer()).is_ok());
        assert_ne!(templates::names::regional(&new.balancer()), new.name());
    }

    #[test]
    fn other_words_are_no_id() {
        for wrong in ["", "web", "0a1b2c", "0A1B2CFF", "+a1b2cff", "0a1b2cff*"] {
            assert!(Run::of(wrong).unwrap_err().to_string().contains("isn't a run's id"), "{wrong}");
        }
    }
}
