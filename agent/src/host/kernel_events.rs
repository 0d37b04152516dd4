//! Waits until the kernel reports that addresses, tunnels or nftables rules changed (rtnetlink(7), nft(8) `monitor`). A
//! report is only a reason to check; the caller reads what is true. So an idle node starts no program.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netdevice::index_to_name;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use templates::files::TUNNELS;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// The time from a report to the check: changes that come together cause one check, and a takeover comes first.
const GATHER: Duration = Duration::from_millis(500);
/// Without a socket for reports, this is the interval of checks.
const BLIND: Duration = Duration::from_secs(4);
/// A check is due this often even if the kernel reports nothing.
const SELDOM: Duration = Duration::from_secs(60);

/// linux/rtnetlink.h
const RTMGRP_LINK: u32 = 1;
const RTMGRP_NEIGH: u32 = 4;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
/// linux/netfilter/nfnetlink.h: group 7, as a mask.
const NFNLGRP_NFTABLES: u32 = 1 << 6;

/// What the kernel reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// IPv4 addresses.
    Addresses,
    /// Links, and the neighbours and forwarding entries of tunnels.
    Tunnels,
    /// Tables, chains and rules of nftables.
    Rules,
}

/// A subscription to the kernel's reports.
#[derive(Debug)]
pub struct KernelEvents {
    subject: Subject,
    socket: Option<AsyncFd<OwnedFd>>,
    checked: Instant,
    reported: Option<Instant>,
}

impl KernelEvents {
    /// The first check is due at once.
    pub fn about(subject: Subject) -> KernelEvents {
        let long_ago = Instant::now().checked_sub(SELDOM).unwrap_or_else(Instant::now);
        KernelEvents { subject, socket: None, checked: long_ago, reported: None }
    }

    /// Waits until a check is due. Cancel safe.
    pub async fn due(&mut self) {
        if self.socket.is_none() {
            match open(self.subject) {
                // Earlier changes weren't reported.
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    tracing::debug!(subject = ?self.subject, %error, "cannot subscribe to the kernel's reports");
                    tokio::time::sleep_until(self.checked + BLIND).await;
                }
            }
            self.checked = Instant::now();
            return;
        }
        let reported = match self.reported {
            Some(reported) => reported,
            None => {
                let _ = tokio::time::timeout_at(self.checked + SELDOM, self.report()).await;
                *self.reported.insert(Instant::now())
            }
        };
        tokio::time::sleep_until(reported + GATHER).await;
        if let Some(socket) = &self.socket {
            drain(socket.get_ref(), self.subject);
        }
        (self.checked, self.reported) = (Instant::now(), None);
    }

    /// Waits for a report about the subject.
    async fn report(&self) {
        let Some(socket) = &self.socket else { return };
        while let Ok(mut ready) = socket.readable().await {
            if drain(socket.get_ref(), self.subject) {
                return;
            }
            ready.clear_ready();
        }
    }
}

fn open(subject: Subject) -> io::Result<AsyncFd<OwnedFd>> {
    let (protocol, groups) = match subject {
        Subject::Addresses => (None, RTMGRP_IPV4_IFADDR),
        Subject::Tunnels => (None, RTMGRP_LINK | RTMGRP_NEIGH),
        Subject::Rules => (Some(NETFILTER), NFNLGRP_NFTABLES),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    // The replacement is unsafe, because other types may close their descriptor early.
    #[expect(deprecated, reason = "an OwnedFd is open for as long as it is owned")]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Reads all reports; returns whether one of them is about the subject.
fn drain(socket: &OwnedFd, subject: Subject) -> bool {
    let (mut message, mut concerns) = ([0; 1 << 15], false);
    loop {
        match recv(socket, &mut message, RecvFlags::empty()) {
            Ok((length, _)) => {
                let tunnel = |index| index_to_name(socket, index).map_or(true, |name| name.starts_with(TUNNELS));
                concerns |= subject != Subject::Tunnels || is_about_tunnels(&message[..length], tunnel);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return concerns,
            // The kernel dropped reports, as this node read them too late.
            Err(_) => return true,
        }
    }
}

/// Whether a report can be about a tunnel. The neighbours of other interfaces change all the time. A deleted interface
/// has no name, so it may be one. The kernel sends each of these reports as a message of its own: struct nlmsghdr, and
/// for neighbours struct ndmsg.
fn is_about_tunnels(message: &[u8], is_tunnel: impl Fn(u32) -> bool) -> bool {
    let number =
        |at: usize| message.get(at..at + 4).map(|bytes| u32::from_ne_bytes(bytes.try_into().expect("4 bytes")));
    let kind = message.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    match kind {
        Some(RTM_NEWNEIGH | RTM_DELNEIGH) => number(20).is_none_or(is_tunnel),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of `kind` about the neighbour of an interface.
    fn report(kind: u16, index: u32) -> Vec<u8> {
        let mut message = vec![0; 28];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[20..24].copy_from_slice(&index.to_ne_bytes());
        message
    }

    #[test]
    fn only_a_tunnels_neighbour_matters() {
        let tunnel = |index| index == 7;
        assert!(
            is_about_tunnels(&report(RTM_NEWNEIGH, 7), tunnel) && is_about_tunnels(&report(RTM_DELNEIGH, 7), tunnel)
        );
        assert!(!is_about_tunnels(&report(RTM_NEWNEIGH, 2), tunnel));
        let link = report(16, 2);
        assert!(is_about_tunnels(&link, tunnel), "a link is recreated under another number");
        assert!(is_about_tunnels(&[], tunnel));
    }

    #[tokio::test]
    async fn a_check_is_due_at_first_and_then_only_after_a_report() {
        let mut events = KernelEvents::about(Subject::Rules);
        tokio::time::timeout(BLIND * 2, events.due()).await.expect("the first check is due");
        assert!(events.socket.is_some(), "this machine's kernel refuses the subscription");
        let early = tokio::time::timeout(GATHER / 2, events.due()).await;
        assert!(early.is_err(), "the next one isn't");
    }
}
