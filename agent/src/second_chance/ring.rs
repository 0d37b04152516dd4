//! The ring of living members, in the order of their addresses. Nodes that see the same members see the same ring, and
//! a packet goes around it once.

use std::net::Ipv4Addr;

/// The living peer that comes after `me`, if there is any.
pub(super) fn next(me: Ipv4Addr, living: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let after = living.iter().filter(|peer| **peer > me).min();
    after.or_else(|| living.iter().filter(|peer| **peer != me).min()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, number, 4)
    }

    #[test]
    fn a_node_without_living_peers_has_no_next() {
        assert_eq!(next(member(1), &[]), None);
        assert_eq!(next(member(1), &[member(1)]), None);
    }

    #[test]
    fn a_packet_visits_every_living_member_once_and_comes_back() {
        for count in 2..=5 {
            let members: Vec<_> = (1..=count).map(member).collect();
            for &start in &members {
                let peers = |me| members.iter().copied().filter(|peer| *peer != me).collect::<Vec<_>>();
                let mut visited = vec![start];
                for _ in 1..count {
                    visited.push(next(visited[visited.len() - 1], &peers(visited[visited.len() - 1])).unwrap());
                }
                let last = visited[visited.len() - 1];
                assert_eq!(next(last, &peers(last)), Some(start));
                visited.sort_unstable();
                assert_eq!(visited, members);
            }
        }
    }
}
