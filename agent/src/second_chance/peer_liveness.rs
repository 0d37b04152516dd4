//! Probes the members inside the tunnels, by a connection to a port without a listener, which a member's kernel
//! refuses. The refusal proves that packets pass every security group and firewall between. A member with a stopped
//! agent answers, too, as it still has all its connections.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use templates::files::tunnel_name;
use templates::paths::TUNNEL_PORT;
use tokio::net::TcpStream;

use crate::host::probe;

/// Unanswered probes in a row that make a member dead. One answer makes it live.
const SILENCES: u8 = 2;

/// Unanswered probes in a row, sent in about ten seconds. If a member's agent answers on port 9110 all that time, a
/// firewall blocks the tunnels to this member.
const BLOCKED: u8 = 40;

/// Unanswered probes in a row, by member. A member that never answered counts as dead.
#[derive(Debug, Default)]
pub(super) struct Pulse(BTreeMap<Ipv4Addr, u8>);

impl Pulse {
    /// Probes all peers once, and forgets members that aren't peers any more.
    pub(super) async fn ask(&mut self, peers: &[Ipv4Addr], patience: Duration) {
        let ask = async |peer: &Ipv4Addr| (*peer, answers_in_tunnel(*peer, patience).await);
        let answered = futures::future::join_all(peers.iter().map(ask)).await;
        self.0.retain(|peer, _| peers.contains(peer));
        answered.into_iter().for_each(|(peer, answered)| self.note(peer, answered));
    }

    /// The `peers` that a passed packet reaches.
    pub(super) fn living(&self, peers: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let lives = |peer: &Ipv4Addr| self.0.get(peer).is_some_and(|silences| *silences < SILENCES);
        peers.iter().copied().filter(lives).collect()
    }

    /// The peers among `answering` that don't answer inside the tunnels. `answering` are the peers that answer on port 9110.
    pub(super) fn blocked(&self, answering: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let blocked = |peer: &Ipv4Addr| self.0.get(peer).is_some_and(|silences| *silences >= BLOCKED);
        answering.iter().copied().filter(blocked).collect()
    }

    fn note(&mut self, peer: Ipv4Addr, answered: bool) {
        let silences = self.0.entry(peer).or_insert(SILENCES);
        *silences = if answered { 0 } else { silences.saturating_add(1) };
    }
}

/// Whether the kernel of `peer` answers inside the tunnel.
pub async fn answers_in_tunnel(peer: Ipv4Addr, patience: Duration) -> bool {
    kernel_answers(SocketAddrV4::new(tunnel_name(peer), TUNNEL_PORT), patience).await
}

/// Whether a kernel answers at `address`, with or without a listening program. If this node has no free descriptor, the
/// probe waits for one.
pub async fn kernel_answers(address: SocketAddrV4, patience: Duration) -> bool {
    loop {
        match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Err(error)) if probe::unasked(&error) => tokio::time::sleep(patience).await,
            Ok(Err(error)) => return error.kind() == ErrorKind::ConnectionRefused,
            Ok(Ok(_)) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);

    #[test]
    fn two_silences_in_a_row_make_a_member_dead_and_one_answer_makes_it_live() {
        let mut pulse = Pulse::default();
        let mut lives = |answered| {
            pulse.note(PEER, answered);
            !pulse.living(&[PEER]).is_empty()
        };
        let answers = [false, true, false, true, false, false, false, true];
        assert_eq!(answers.map(&mut lives), [false, true, true, true, true, false, false, true]);
    }

    #[test]
    fn a_peer_that_answers_outside_the_tunnels_only_is_blocked_after_a_while() {
        let mut pulse = Pulse::default();
        pulse.note(PEER, true);
        (1..BLOCKED).for_each(|_| pulse.note(PEER, false));
        assert_eq!(pulse.blocked(&[PEER]), [] as [Ipv4Addr; 0]);
        pulse.note(PEER, false);
        assert_eq!(pulse.blocked(&[PEER]), [PEER]);
        assert_eq!(pulse.blocked(&[]), [] as [Ipv4Addr; 0], "it is down");
        pulse.note(PEER, true);
        assert_eq!(pulse.blocked(&[PEER]), [] as [Ipv4Addr; 0]);
    }

    #[tokio::test]
    async fn a_kernel_that_refuses_is_alive_and_one_that_is_silent_is_not() {
        let patience = Duration::from_millis(200);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let std::net::SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("an IPv4 address") };
        assert!(kernel_answers(address, patience).await);
        // A kernel doesn't answer a connection to a full queue (listen(2)).
        let _listener = socket.listen(0).unwrap();
        let _queued = TcpStream::connect(address).await.unwrap();
        assert!(!kernel_answers(address, patience).await);
    }
}
