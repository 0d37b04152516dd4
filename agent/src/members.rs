//! Who belongs to the balancer, and which of them are this node's peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{Instance, InstanceStateName, Tag};
use serde::{Deserialize, Serialize};
use templates::report::Unreachable;
use templates::{Slot, names};

use crate::ids::{InstanceId, InterfaceId};

/// Off soon, in EC2's words.
const ENDING: [InstanceStateName; 2] = [InstanceStateName::ShuttingDown, InstanceStateName::Stopping];

/// A live instance of the balancer, this one included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub instance: InstanceId,
    /// Its primary interface.
    pub interface: InterfaceId,
    /// That interface's primary address.
    pub address: Ipv4Addr,
    /// Whether EC2 says that it is shutting down: then its silence is no news.
    #[serde(default)]
    pub ending: bool,
    /// Whether its packets are still checked for being its own: then it can't serve a virtual IP.
    pub source_dest_check: bool,
    /// The slot the launcher launched it for.
    pub ordered: Option<Slot>,
    /// The slot it says it has.
    pub claim: Option<Slot>,
    /// The instance in whose place it was launched.
    #[serde(default)]
    pub replaces: Option<InstanceId>,
    /// Its place in the RunInstances call that made it.
    pub launch_index: u32,
    /// Its role and its sign of life, as its tags say: what changes there shows that it lives.
    #[serde(default)]
    pub says: String,
    /// The members that it can't reach, as its tag says.
    #[serde(default)]
    pub unreachable: Vec<InstanceId>,
}

/// The members among `instances` (not yet off, with the balancer's tag and VPC: the call filters those): the
/// ones that carry one of this node's security groups, without which they couldn't reach each other.
pub fn members(instances: &[Instance], groups: &[String]) -> Vec<Member> {
    let mut members: Vec<Member> = instances.iter().filter_map(|instance| member(instance, groups)).collect();
    members.sort_by(|a, b| a.instance.cmp(&b.instance));
    members
}

fn member(instance: &Instance, groups: &[String]) -> Option<Member> {
    let interfaces = instance.network_interfaces();
    let first = |i: &&aws_sdk_ec2::types::InstanceNetworkInterface| {
        i.attachment().and_then(|attachment| attachment.device_index()) == Some(0)
    };
    let interface = interfaces.iter().find(first).or(interfaces.first())?;
    if !interface.groups().iter().any(|group| group.group_id().is_some_and(|id| groups.iter().any(|own| own == id))) {
        return None;
    }
    let slot = |key: &str| tag(instance.tags(), key).and_then(|value| value.parse().ok());
    Some(Member {
        instance: InstanceId(instance.instance_id()?.to_owned()),
        interface: InterfaceId(interface.network_interface_id()?.to_owned()),
        address: interface.private_ip_address()?.parse().ok()?,
        ending: instance.state().and_then(|state| state.name()).is_some_and(|state| ENDING.contains(state)),
        source_dest_check: interface.source_dest_check().unwrap_or(true),
        ordered: slot(names::TAG_SLOT),
        claim: slot(names::TAG_CLAIM),
        replaces: tag(instance.tags(), names::TAG_REPLACES).map(|id| InstanceId(id.to_owned())),
        launch_index: instance.ami_launch_index().and_then(|index| index.try_into().ok()).unwrap_or_default(),
        says: [names::TAG_ROLE, names::TAG_ALIVE].map(|key| tag(instance.tags(), key).unwrap_or_default()).join(" "),
        unreachable: unreachable(tag(instance.tags(), names::TAG_UNREACHABLE)),
    })
}

fn unreachable(tag: Option<&str>) -> Vec<InstanceId> {
    let Unreachable(peers) = tag.and_then(|value| value.parse().ok()).unwrap_or_default();
    peers.into_keys().map(InstanceId).collect()
}

/// The instances of the members that have taken a slot, by address. One that hasn't is still booting: its silence is no news.
pub fn instances(members: &[Member]) -> BTreeMap<Ipv4Addr, InstanceId> {
    let booted = members.iter().filter(|member| member.claim.is_some());
    booted.map(|member| (member.address, member.instance.clone())).collect()
}

fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// So many reads in a row must miss a member before it counts as gone. While one is in doubt they are less than two
/// seconds apart, and EC2's may be stale for longer than that.
const MISSES: u8 = 4;

/// This node's peers, through reads that may be stale: a newcomer is believed at once, as talking to nobody is
/// harmless; a member counts as gone only when [`MISSES`] reads in a row miss it, as forgetting a live one would make
/// two nodes active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    peers: BTreeSet<Ipv4Addr>,
    missed: BTreeMap<Ipv4Addr, u8>,
}

impl Roster {
    /// A roster of `members` other than `me`.
    pub fn of(members: &[Member], me: Ipv4Addr) -> Self {
        Roster { peers: addresses(members, me), missed: BTreeMap::new() }
    }

    /// Takes in a new read; whether the peers changed.
    pub fn update(&mut self, members: &[Member], me: Ipv4Addr) -> bool {
        let seen = addresses(members, me);
        let misses = |peer: &Ipv4Addr| self.missed.get(peer).copied().unwrap_or_default() + 1;
        let (gone, doubtful): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.peers.difference(&seen).map(|peer| (*peer, misses(peer))).partition(|(_, misses)| *misses >= MISSES);
        let before = self.peers.clone();
        self.peers.extend(seen);
        self.peers.retain(|peer| !gone.contains_key(peer));
        self.missed = doubtful;
        self.peers != before
    }

    /// The members by `read`, and the peers that it misses and that don't count as gone yet, as they were `before`.
    pub fn with_missed(&self, read: Vec<Member>, before: &[Member]) -> Vec<Member> {
        let missed =
            |member: &&Member| self.missed.contains_key(&member.address) && self.peers.contains(&member.address);
        let missed: Vec<Member> = before.iter().filter(missed).cloned().collect();
        [read, missed].concat()
    }

    /// Whether somebody is in doubt: the last read missed a peer.
    pub fn doubts(&self) -> bool {
        !self.missed.is_empty()
    }

    /// The peers, in order.
    pub fn peers(&self) -> Vec<Ipv4Addr> {
        self.peers.iter().copied().collect()
    }

    /// Whether a balancer of `nodes` nodes has everybody here, and nobody in doubt.
    pub fn complete(&self, nodes: usize) -> bool {
        self.peers.len() + 1 >= nodes && self.missed.is_empty()
    }
}

fn addresses(members: &[Member], me: Ipv4Addr) -> BTreeSet<Ipv4Addr> {
    members.iter().map(|member| member.address).filter(|address| *address != me).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_ec2::types::{GroupIdentifier, InstanceNetworkInterface, InstanceNetworkInterfaceAttachment};

    use super::*;

    /// A member at 10.0.1.`last` that neither claims nor was given a slot.
    pub(crate) fn member(id: &str, last: u8) -> Member {
        Member {
            instance: id.into(),
            interface: InterfaceId(format!("eni-{last}")),
            address: Ipv4Addr::new(10, 0, 1, last),
            ending: false,
            source_dest_check: false,
            ordered: None,
            claim: None,
            replaces: None,
            launch_index: 0,
            says: String::new(),
            unreachable: vec![],
        }
    }

    fn interface(id: &str, address: &str, group: &str, index: i32) -> InstanceNetworkInterface {
        InstanceNetworkInterface::builder()
            .network_interface_id(id)
            .private_ip_address(address)
            .source_dest_check(false)
            .groups(GroupIdentifier::builder().group_id(group).build())
            .attachment(InstanceNetworkInterfaceAttachment::builder().device_index(index).build())
            .build()
    }

    fn instance(id: &str) -> aws_sdk_ec2::types::builders::InstanceBuilder {
        Instance::builder().instance_id(id).ami_launch_index(0)
    }

    #[test]
    fn a_member_is_read_by_its_primary_interface() {
        let found = instance("i-b")
            .network_interfaces(interface("eni-9", "10.0.9.9", "sg-1", 1))
            .network_interfaces(interface("eni-2", "10.0.1.2", "sg-1", 0))
            .tags(Tag::builder().key("elbow:claim").value("1").build())
            .tags(Tag::builder().key("elbow:unreachable").value("i-c@2026-11-29T14:03:12Z").build())
            .build();
        let unreachable = vec!["i-c".into()];
        let expected = Member { claim: Some(Slot(1)), says: " ".into(), unreachable, ..member("i-b", 2) };
        assert_eq!(members(&[found], &["sg-1".into()]), [expected]);
    }

    #[test]
    fn a_member_that_shuts_down_is_known_to_end() {
        use InstanceStateName::{Pending, Running, ShuttingDown, Stopping};
        let ending = |state| {
            let state = aws_sdk_ec2::types::InstanceState::builder().name(state).build();
            let found = instance("i-b").network_interfaces(interface("eni-2", "10.0.1.2", "sg-1", 0)).state(state);
            members(&[found.build()], &["sg-1".into()])[0].ending
        };
        assert_eq!([Pending, Running, Stopping, ShuttingDown].map(ending), [false, false, true, true]);
    }

    #[test]
    fn a_member_that_has_no_slot_yet_is_not_missed() {
        let booted = Member { claim: Some(Slot(0)), ..member("i-a", 1) };
        let instances = instances(&[booted, member("i-b", 2)]);
        assert_eq!(instances, BTreeMap::from([(Ipv4Addr::new(10, 0, 1, 1), "i-a".into())]));
    }

    #[test]
    fn an_instance_with_the_tag_but_not_the_group_is_no_member() {
        let stranger = instance("i-x").network_interfaces(interface("eni-3", "10.0.1.3", "sg-other", 0)).build();
        assert!(members(&[stranger], &["sg-1".into()]).is_empty());
    }

    #[test]
    fn an_instance_without_an_interface_yet_is_no_member() {
        assert!(members(&[instance("i-x").build()], &["sg-1".into()]).is_empty());
    }

    const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

    #[test]
    fn a_newcomer_is_a_peer_at_once() {
        let mut roster = Roster::of(&[member("i-a", 1)], ME);
        assert!(!roster.complete(2));
        assert!(roster.update(&[member("i-a", 1), member("i-b", 2)], ME));
        assert_eq!(roster.peers(), [Ipv4Addr::new(10, 0, 1, 2)]);
        assert!(roster.complete(2));
    }

    #[test]
    fn a_peer_is_gone_when_several_reads_in_a_row_miss_it() {
        let mut roster = Roster::of(&[member("i-b", 2)], ME);
        for _ in 1..MISSES {
            assert!(!roster.update(&[], ME));
            assert!(!roster.complete(2));
        }
        assert!(roster.update(&[], ME));
        assert!(roster.peers().is_empty());
    }

    #[test]
    fn a_peer_that_a_read_misses_belongs_to_the_balancer_as_it_was_until_it_counts_as_gone() {
        let (me, peer) = (member("i-a", 1), Member { claim: Some(Slot(1)), ..member("i-b", 2) });
        let mut members = vec![me.clone(), peer.clone()];
        let mut roster = Roster::of(&members, ME);
        for _ in 1..MISSES {
            roster.update(std::slice::from_ref(&me), ME);
            members = roster.with_missed(vec![me.clone()], &members);
            assert_eq!(members, [me.clone(), peer.clone()]);
            assert!(roster.doubts());
        }
        roster.update(std::slice::from_ref(&me), ME);
        assert_eq!(roster.with_missed(vec![me.clone()], &members), [me]);
        assert!(!roster.doubts());
    }

    #[test]
    fn a_peer_that_is_seen_again_is_kept() {
        let mut roster = Roster::of(&[member("i-b", 2)], ME);
        for _ in 0..3 {
            for _ in 1..MISSES {
                assert!(!roster.update(&[], ME));
            }
            assert!(!roster.update(&[member("i-b", 2)], ME));
        }
        assert!(roster.complete(2));
    }
}
