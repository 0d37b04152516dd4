//! A node's slot, its priority for a virtual IP, and its role.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The index of a node's subnet in `subnets`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u8);

impl Slot {
    /// The slot of a node in a subnet that its balancer doesn't list. It has the lowest priority for every virtual IP.
    pub const UNLISTED: Slot = Slot(16);

    /// The slot of a node in `subnet`.
    pub fn of(subnet: &str, subnets: &[String]) -> Slot {
        let place = subnets.iter().position(|listed| listed == subnet);
        place.map_or(Slot::UNLISTED, |place| Slot(place as u8))
    }

    /// VRRP priority (1-254) for the virtual IP at position `vip` of the balancer's list. It doesn't depend on the
    /// number of subnets. Each virtual IP prefers another slot, so that two of them on two nodes are active-active.
    /// Nodes of one subnet have the same priority: VRRP breaks the tie by address.
    pub fn priority(self, vip: usize) -> u8 {
        let distance = if self < Slot::UNLISTED { (i32::from(self.0) - vip as i32).rem_euclid(16) } else { 16 };
        (200 - 3 * distance) as u8
    }

    /// The preferred slot of the virtual IP at position `vip` among `nodes` slots: the same number, or else 0.
    pub fn preferred(vip: usize, nodes: usize) -> Slot {
        let slots = (0..nodes).map(|slot| Slot(slot as u8));
        slots.max_by_key(|slot| slot.priority(vip)).unwrap_or(Slot(0))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Slot {
    type Err = NotASlot;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Slot).map_err(|_| NotASlot)
    }
}

/// Text that isn't a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a slot; write its number, as `launcher status` shows it, such as 0")]
pub struct NotASlot;

/// A node's role for a virtual IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The routes lead here (keepalived's MASTER).
    Active,
    /// Ready to take over (keepalived's BACKUP).
    Standby,
    /// Not able to serve (keepalived's FAULT).
    Fault,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Active => "active",
            Role::Standby => "standby",
            Role::Fault => "fault",
        })
    }
}

/// A word that isn't a role.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a role: active, standby or fault")]
pub struct NotARole(String);

impl FromStr for Role {
    type Err = NotARole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "active" => Ok(Role::Active),
            "standby" => Ok(Role::Standby),
            "fault" => Ok(Role::Fault),
            other => Err(NotARole(other.to_owned())),
        }
    }
}

/// A node's role for each virtual IP, in the order of the balancer's `virtual_ips`: the value of the tag `elbow:role`,
/// words with a space between (`active standby`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(pub Vec<Role>);

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Role::to_string).collect();
        f.pad(&words.join(" "))
    }
}

impl FromStr for Roles {
    type Err = NotARole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_virtual_ip_prefers_its_own_slot() {
        assert_eq!(Slot(0).priority(0), 200);
        assert_eq!(Slot(1).priority(0), 197);
        assert_eq!(Slot(0).priority(1), 155);
        assert_eq!(Slot(1).priority(1), 200);
    }

    #[test]
    fn no_two_slots_share_a_priority() {
        for vip in 0..16 {
            let mut seen: Vec<u8> = (0..16).map(|slot| Slot(slot).priority(vip)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 16);
        }
    }

    #[test]
    fn a_node_in_a_subnet_that_is_not_listed_comes_last_for_every_virtual_ip() {
        let subnets = ["subnet-a".to_owned(), "subnet-b".to_owned()];
        assert_eq!(["subnet-a", "subnet-b"].map(|subnet| Slot::of(subnet, &subnets)), [Slot(0), Slot(1)]);
        assert_eq!(Slot::of("subnet-c", &subnets), Slot::UNLISTED);
        for vip in 0..16 {
            assert!((0..16).all(|slot| Slot(slot).priority(vip) > Slot::UNLISTED.priority(vip)));
        }
    }

    #[test]
    fn roles_read_back_as_written() {
        let roles = Roles(vec![Role::Active, Role::Standby, Role::Fault]);
        assert_eq!(roles.to_string(), "active standby fault");
        assert_eq!("active standby fault".parse::<Roles>().unwrap(), roles);
        assert!("master".parse::<Roles>().is_err());
    }
}
