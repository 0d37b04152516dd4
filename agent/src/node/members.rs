//! The balancer's members, and which of them are this node's peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{Instance, InstanceStateName, NetworkInterface, Tag};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use templates::names;
use templates::report::{Moment, Unreachable};

use crate::aws::ec2::ApiError;
use crate::aws::ids::{InstanceId, InterfaceId};
use crate::node::member_identity::MemberIdentity;

/// EC2's states of an instance that shuts down.
const ENDING: [InstanceStateName; 2] = [InstanceStateName::ShuttingDown, InstanceStateName::Stopping];

/// A live instance of the balancer, this one included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub instance: InstanceId,
    /// Its primary interface.
    pub interface: InterfaceId,
    /// That interface's primary address.
    pub address: Ipv4Addr,
    /// Its availability zone.
    #[serde(default)]
    pub zone: String,
    /// Its subnet. The index in the balancer's `subnets` is its slot.
    #[serde(default)]
    pub subnet: String,
    /// Whether EC2 shows that it is shutting down. Its silence is then expected.
    #[serde(default)]
    pub ending: bool,
    /// Whether its source/destination check is still on. It then can't serve a virtual IP.
    pub source_dest_check: bool,
    /// Whether its agent has ever reported in its tags. Until then it boots, and its silence is expected.
    pub reported: bool,
    /// The role and the sign of life in its tags: a change shows that it runs. `None` if the tags weren't read.
    #[serde(skip)]
    pub says: Option<String>,
    /// Its last sign of life in its tags, if it wrote one.
    #[serde(skip)]
    pub alive: Option<Timestamp>,
    /// The members that its tag reports as unreachable; empty if the tag wasn't read.
    #[serde(skip)]
    pub unreachable: Vec<InstanceId>,
}

/// The result of a read of the members.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The members that were seen.
    pub members: Vec<Member>,
    /// Whether the list is complete, this node included. A member that it misses is gone, or the answer is old.
    pub whole: bool,
    /// Why DescribeInstances couldn't list them.
    pub trouble: Option<ApiError>,
}

impl Sighting {
    /// From a list of all members, read by the node `me`. A list without `me` is out of date or cut short.
    pub fn listed(members: Vec<Member>, me: &InstanceId) -> Sighting {
        let whole = members.iter().any(|member| member.instance == *me);
        Sighting { members, whole, trouble: None }
    }

    /// From a read of some members.
    pub fn of(members: Vec<Member>) -> Sighting {
        Sighting { members, whole: false, trouble: None }
    }
}

/// The members of this balancer among `instances`.
pub fn members(instances: &[Instance], identity: &MemberIdentity) -> Vec<Member> {
    let mut members: Vec<Member> =
        instances.iter().filter(|instance| identity.has(instance)).filter_map(member).collect();
    members.sort_by(|a, b| a.instance.cmp(&b.instance));
    members
}

/// The member with this primary interface. Fields that it doesn't show come from `known`; those read from tags stay
/// empty.
pub fn at(interface: &NetworkInterface, known: &[Member]) -> Option<Member> {
    let attachment = interface.attachment().filter(|attachment| attachment.device_index() == Some(0))?;
    let instance = InstanceId(attachment.instance_id()?.to_owned());
    let before = known.iter().find(|member| member.instance == instance);
    let member = before.cloned().unwrap_or_else(|| Member {
        instance,
        interface: InterfaceId(String::new()),
        address: Ipv4Addr::UNSPECIFIED,
        zone: String::new(),
        subnet: String::new(),
        ending: false,
        source_dest_check: true,
        reported: false,
        says: None,
        alive: None,
        unreachable: vec![],
    });
    Some(Member {
        interface: InterfaceId(interface.network_interface_id()?.to_owned()),
        address: interface.private_ip_address()?.parse().ok()?,
        zone: interface.availability_zone().unwrap_or_default().to_owned(),
        subnet: interface.subnet_id().unwrap_or_default().to_owned(),
        source_dest_check: interface.source_dest_check().unwrap_or(true),
        says: None,
        alive: None,
        unreachable: vec![],
        ..member
    })
}

fn member(instance: &Instance) -> Option<Member> {
    let interfaces = instance.network_interfaces();
    let first = |i: &&aws_sdk_ec2::types::InstanceNetworkInterface| {
        i.attachment().and_then(|attachment| attachment.device_index()) == Some(0)
    };
    let interface = interfaces.iter().find(first).or(interfaces.first())?;
    Some(Member {
        instance: InstanceId(instance.instance_id()?.to_owned()),
        interface: InterfaceId(interface.network_interface_id()?.to_owned()),
        address: interface.private_ip_address()?.parse().ok()?,
        zone: instance.placement().and_then(|placement| placement.availability_zone()).unwrap_or_default().to_owned(),
        subnet: instance.subnet_id().unwrap_or_default().to_owned(),
        ending: instance.state().and_then(|state| state.name()).is_some_and(|state| ENDING.contains(state)),
        source_dest_check: interface.source_dest_check().unwrap_or(true),
        reported: [names::TAG_ROLE, names::TAG_RUNNING].iter().any(|key| tag(instance.tags(), key).is_some()),
        says: Some(
            [names::TAG_ROLE, names::TAG_ALIVE].map(|key| tag(instance.tags(), key).unwrap_or_default()).join(" "),
        ),
        alive: tag(instance.tags(), names::TAG_ALIVE).and_then(|at| Some(at.parse::<Moment>().ok()?.timestamp())),
        unreachable: unreachable(tag(instance.tags(), names::TAG_UNREACHABLE)),
    })
}

fn unreachable(tag: Option<&str>) -> Vec<InstanceId> {
    let Unreachable(peers) = tag.and_then(|value| value.parse().ok()).unwrap_or_default();
    peers.into_keys().map(InstanceId).collect()
}

/// The instances of the members that have reported, by address.
pub fn instances(members: &[Member]) -> BTreeMap<Ipv4Addr, InstanceId> {
    let booted = members.iter().filter(|member| member.reported);
    booted.map(|member| (member.address, member.instance.clone())).collect()
}

fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// Reads in a row that must miss a member before it counts as gone. Such reads are less than two seconds apart, and
/// EC2's answers may be stale for longer.
const MISSES: u8 = 4;

/// This node's peers, tracked over reads that may be stale. A newcomer is a peer at once: talking to an absent node is
/// harmless. A member counts as gone only when [`MISSES`] whole reads in a row miss it: forgetting a live one would
/// make two nodes active.
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

    /// Takes in a new read and returns whether the peers changed. A read that isn't whole removes no peer.
    pub fn update(&mut self, sighting: &Sighting, me: Ipv4Addr) -> bool {
        let seen = addresses(&sighting.members, me);
        if !sighting.whole {
            let before = self.peers.len();
            self.missed.retain(|peer, _| !seen.contains(peer));
            self.peers.extend(seen);
            return self.peers.len() != before;
        }
        let misses = |peer: &Ipv4Addr| self.missed.get(peer).copied().unwrap_or_default() + 1;
        let (gone, doubtful): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.peers.difference(&seen).map(|peer| (*peer, misses(peer))).partition(|(_, misses)| *misses >= MISSES);
        let before = self.peers.clone();
        self.peers.extend(seen);
        self.peers.retain(|peer| !gone.contains_key(peer));
        self.missed = doubtful;
        self.peers != before
    }

    /// The members of `read`, and the peers that it misses and that don't count as gone yet, as they were `before`.
    pub fn with_missed(&self, read: Vec<Member>, before: &[Member]) -> Vec<Member> {
        let missed = |member: &&Member| {
            self.peers.contains(&member.address) && read.iter().all(|seen| seen.address != member.address)
        };
        let unread = |member: &Member| Member { says: None, alive: None, unreachable: vec![], ..member.clone() };
        let missed: Vec<Member> = before.iter().filter(missed).map(unread).collect();
        [read, missed].concat()
    }

    /// Whether the last whole read missed a peer.
    pub fn doubts(&self) -> bool {
        !self.missed.is_empty()
    }

    /// The peers, in order.
    pub fn peers(&self) -> Vec<Ipv4Addr> {
        self.peers.iter().copied().collect()
    }

    /// Whether all `nodes` nodes of the balancer are known and the last whole read missed none.
    pub fn complete(&self, nodes: usize) -> bool {
        self.peers.len() + 1 >= nodes && self.missed.is_empty()
    }
}

fn addresses(members: &[Member], me: Ipv4Addr) -> BTreeSet<Ipv4Addr> {
    members.iter().map(|member| member.address).filter(|address| *address != me).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_ec2::types::{
        InstanceNetworkInterface, InstanceNetworkInterfaceAttachment, NetworkInterfaceAttachment, Placement,
    };

    use super::*;
    use crate::node::member_identity::tests::{group, identity};

    /// A member at 10.0.1.`last` that hasn't reported yet.
    pub(crate) fn member(id: &str, last: u8) -> Member {
        Member {
            instance: id.into(),
            interface: InterfaceId(format!("eni-{last}")),
            address: Ipv4Addr::new(10, 0, 1, last),
            zone: "eu-west-1a".into(),
            subnet: "subnet-a".into(),
            ending: false,
            source_dest_check: false,
            reported: false,
            says: None,
            alive: None,
            unreachable: vec![],
        }
    }

    fn interface(id: &str, address: &str, index: i32) -> InstanceNetworkInterface {
        InstanceNetworkInterface::builder()
            .network_interface_id(id)
            .private_ip_address(address)
            .source_dest_check(false)
            .attachment(InstanceNetworkInterfaceAttachment::builder().device_index(index).build())
            .build()
    }

    fn instance(id: &str) -> aws_sdk_ec2::types::builders::InstanceBuilder {
        let place = Placement::builder().availability_zone("eu-west-1a").build();
        let node = Instance::builder().vpc_id("vpc-1").security_groups(group("sg-1", "elbow-web"));
        node.instance_id(id).subnet_id("subnet-a").placement(place)
    }

    #[test]
    fn a_member_is_read_by_its_primary_interface() {
        let found = instance("i-b")
            .network_interfaces(interface("eni-9", "10.0.9.9", 1))
            .network_interfaces(interface("eni-2", "10.0.1.2", 0))
            .tags(Tag::builder().key("elbow:role").value("standby").build())
            .tags(Tag::builder().key("elbow:unreachable").value("i-c@2026-11-29T14:03:12Z").build())
            .build();
        let unreachable = vec!["i-c".into()];
        let expected = Member { reported: true, says: Some("standby ".into()), unreachable, ..member("i-b", 2) };
        assert_eq!(members(&[found], &identity()), [expected]);
    }

    #[test]
    fn a_member_that_shuts_down_is_known_to_end() {
        use InstanceStateName::{Pending, Running, ShuttingDown, Stopping};
        let ending = |state| {
            let state = aws_sdk_ec2::types::InstanceState::builder().name(state).build();
            let found = instance("i-b").network_interfaces(interface("eni-2", "10.0.1.2", 0)).state(state);
            members(&[found.build()], &identity())[0].ending
        };
        assert_eq!([Pending, Running, Stopping, ShuttingDown].map(ending), [false, false, true, true]);
    }

    #[test]
    fn a_member_that_has_not_reported_yet_is_not_missed() {
        let booted = Member { reported: true, ..member("i-a", 1) };
        let instances = instances(&[booted, member("i-b", 2)]);
        assert_eq!(instances, BTreeMap::from([(Ipv4Addr::new(10, 0, 1, 1), "i-a".into())]));
    }

    #[test]
    fn an_instance_without_an_interface_yet_and_one_of_another_balancer_are_no_members() {
        let stranger = Instance::builder().instance_id("i-x").network_interfaces(interface("eni-3", "10.0.1.3", 0));
        assert_eq!(members(&[instance("i-x").build(), stranger.build()], &identity()), []);
    }

    #[test]
    fn an_interface_shows_where_a_member_is_and_what_was_known_of_it_stays() {
        let found = |index| {
            let attachment = NetworkInterfaceAttachment::builder().instance_id("i-b").device_index(index).build();
            let interface = NetworkInterface::builder().network_interface_id("eni-2").private_ip_address("10.0.1.2");
            let interface = interface.availability_zone("eu-west-1a").subnet_id("subnet-a");
            interface.source_dest_check(false).attachment(attachment).build()
        };
        let known = Member {
            reported: true,
            says: Some("active ".into()),
            alive: Some(Timestamp::UNIX_EPOCH),
            unreachable: vec!["i-c".into()],
            ..member("i-b", 9)
        };
        let expected = Member { reported: true, ..member("i-b", 2) };
        assert_eq!(at(&found(0), &[known]), Some(expected));
        assert_eq!(at(&found(0), &[]), Some(member("i-b", 2)));
        assert_eq!(at(&found(1), &[]), None, "it is another interface of a node");
    }

    #[test]
    fn a_list_without_the_node_that_asked_is_not_whole() {
        assert!(Sighting::listed(vec![member("i-a", 1), member("i-b", 2)], &"i-a".into()).whole);
        assert!(!Sighting::listed(vec![member("i-b", 2)], &"i-a".into()).whole);
        assert!(!Sighting::listed(vec![], &"i-a".into()).whole);
    }

    const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

    fn whole(others: &[Member]) -> Sighting {
        Sighting::listed([&[member("i-a", 1)], others].concat(), &"i-a".into())
    }

    #[test]
    fn a_newcomer_is_a_peer_at_once() {
        let mut roster = Roster::of(&[member("i-a", 1)], ME);
        assert!(!roster.complete(2));
        assert!(roster.update(&whole(&[member("i-b", 2)]), ME));
        assert_eq!(roster.peers(), [Ipv4Addr::new(10, 0, 1, 2)]);
        assert!(roster.complete(2));
    }

    #[test]
    fn a_peer_is_gone_when_several_reads_in_a_row_miss_it() {
        let mut roster = Roster::of(&[member("i-b", 2)], ME);
        for _ in 1..MISSES {
            assert!(!roster.update(&whole(&[]), ME));
            assert!(!roster.complete(2));
        }
        assert!(roster.update(&whole(&[]), ME));
        assert!(roster.peers().is_empty());
    }

    #[test]
    fn a_peer_that_a_read_misses_stays_a_member_until_it_counts_as_gone() {
        let (me, peer) = (member("i-a", 1), Member { reported: true, ..member("i-b", 2) });
        let mut members = vec![me.clone(), peer.clone()];
        let mut roster = Roster::of(&members, ME);
        for _ in 1..MISSES {
            roster.update(&whole(&[]), ME);
            members = roster.with_missed(vec![me.clone()], &members);
            assert_eq!(members, [me.clone(), peer.clone()]);
            assert!(roster.doubts());
        }
        roster.update(&whole(&[]), ME);
        assert_eq!(roster.with_missed(vec![me.clone()], &members), [me]);
        assert!(!roster.doubts());
    }

    #[test]
    fn reads_that_are_not_whole_add_peers_and_remove_none() {
        let mut roster = Roster::of(&[member("i-b", 2)], ME);
        for _ in 0..=MISSES {
            assert!(!roster.update(&Sighting::listed(vec![], &"i-a".into()), ME));
        }
        assert!(!roster.doubts());
        assert!(roster.update(&Sighting::of(vec![member("i-c", 3)]), ME));
        let says = Member { says: Some("active ".into()), unreachable: vec!["i-a".into()], ..member("i-b", 2) };
        let known = [says, member("i-a", 1)];
        let all = roster.with_missed(vec![member("i-c", 3)], &known);
        assert_eq!(all, [member("i-c", 3), member("i-b", 2)], "its tags are unread");
    }

    #[test]
    fn a_peer_that_is_seen_again_is_kept() {
        let mut roster = Roster::of(&[member("i-b", 2)], ME);
        for _ in 0..3 {
            for _ in 1..MISSES {
                assert!(!roster.update(&whole(&[]), ME));
            }
            assert!(!roster.update(&whole(&[member("i-b", 2)]), ME));
        }
        assert!(roster.complete(2));
    }
}
