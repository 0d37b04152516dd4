//! Limits how many connections each client, and each kind of client, may hold. A request is short, so the oldest
//! connection is probably idle and is closed for the newest. No client can shut out others. Pure.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::node::state::State;

/// The quota of one address.
const EACH: usize = 8;

/// The kinds of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// This node: keepalived's script, or a person on it.
    Itself,
    /// A peer.
    Member,
    /// A named reader of metrics.
    Reader,
    /// Any other client, perhaps a node that isn't known yet.
    Stranger,
}

impl Guest {
    pub(super) fn of(visitor: IpAddr, state: &State, readers: &[Ipv4Net]) -> Guest {
        let is = |test: &dyn Fn(&Ipv4Addr) -> bool| matches!(&visitor, IpAddr::V4(visitor) if test(visitor));
        match () {
            () if is(&|visitor| *visitor == state.address) => Guest::Itself,
            () if is(&|visitor| state.peers.contains(visitor)) => Guest::Member,
            () if is(&|visitor| readers.iter().any(|net| net.contains(visitor))) => Guest::Reader,
            () => Guest::Stranger,
        }
    }

    /// The quota of this kind. All kinds together have 64.
    fn places(self) -> usize {
        match self {
            Guest::Itself | Guest::Reader | Guest::Stranger => 8,
            Guest::Member => 40,
        }
    }
}

/// The index in `held`, oldest first, of the connection that must end for a new one.
pub(super) fn leaving(held: &[(IpAddr, Guest)], visitor: IpAddr, guest: Guest) -> Option<usize> {
    let oldest = |limit: usize, same: &dyn Fn(&(IpAddr, Guest)) -> bool| {
        let mut same = held.iter().enumerate().filter(|(_, one)| same(one)).map(|(index, _)| index);
        let first = same.next()?;
        (same.count() + 1 >= limit).then_some(first)
    };
    oldest(EACH, &|one| one.0 == visitor).or_else(|| oldest(guest.places(), &|one| one.1 == guest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::tests::state;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 3, last])
    }

    /// The connections held after these visits, one after another.
    fn after(visits: impl IntoIterator<Item = (IpAddr, Guest)>) -> Vec<(IpAddr, Guest)> {
        let mut held = Vec::new();
        for (visitor, guest) in visits {
            if let Some(index) = leaving(&held, visitor, guest) {
                held.remove(index);
            }
            held.push((visitor, guest));
        }
        held
    }

    #[test]
    fn a_visitor_is_known_by_its_address() {
        let (state, readers) = (state(), ["10.0.9.0/24".parse().unwrap()]);
        let guest = |visitor: &str| Guest::of(visitor.parse().unwrap(), &state, &readers);
        assert_eq!(guest("10.0.1.10"), Guest::Itself);
        assert_eq!(guest("10.0.2.10"), Guest::Member);
        assert_eq!(guest("10.0.9.7"), Guest::Reader);
        assert_eq!([guest("10.0.8.7"), guest("::1")], [Guest::Stranger; 2]);
    }

    #[test]
    fn a_thousand_connections_from_one_address_hold_eight_places_and_the_newest_is_among_them() {
        let held = after((0..1100).map(|_| (address(1), Guest::Member)).chain([(address(2), Guest::Member)]));
        assert_eq!(held.len(), EACH + 1);
        let held = after(held.into_iter().chain([(address(1), Guest::Member)]));
        assert_eq!(held.len(), EACH + 1);
        assert_eq!(held[EACH], (address(1), Guest::Member));
    }

    #[test]
    fn strangers_from_many_addresses_hold_eight_places_and_displace_no_member() {
        let members = (1..=4).map(|last| (IpAddr::from([10, 0, 2, last]), Guest::Member));
        let strangers = (0..=255).map(|last| (address(last), Guest::Stranger));
        let held = after(members.clone().chain(strangers));
        assert_eq!(held.len(), 4 + Guest::Stranger.places());
        assert!(members.into_iter().all(|member| held.contains(&member)));
        assert!(held.contains(&(address(255), Guest::Stranger)), "the last one is answered");
    }

    #[test]
    fn all_together_hold_64() {
        let visits = (0..=255).flat_map(|last| {
            let guest = [Guest::Itself, Guest::Member, Guest::Reader, Guest::Stranger][usize::from(last) % 4];
            [(address(last), guest); 3]
        });
        assert_eq!(after(visits).len(), 64);
    }
}
