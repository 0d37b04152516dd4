//! Reads members and route tables at boot, up to a limit. Nodes that are launched together find each other within a
//! second or two, and an API outage must not keep a node from serving.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use templates::balancer::{Balancer, RouteTables};
use tokio::time::Instant;

use crate::aws::ec2::{ApiError, Kind};
use crate::aws::ids::TableId;
use crate::aws::imds::Facts;
use crate::host::backoff::Backoff;
use crate::host::logs::CONSOLE;
use crate::node::api_snapshot::{self, ApiSnapshot};
use crate::node::members::{Member, Roster, Sighting};
use crate::node::observe::Observer;
use crate::node::state::Topic;
use crate::node::tables::{Serves, Table};

/// How long the boot waits for peers. Later peers join when they appear.
const LIMIT: Duration = Duration::from_secs(10);

/// What the boot knows of the API.
#[derive(Debug)]
pub(super) struct FirstReads {
    /// The members: read now, or known from before, or none.
    pub members: Vec<Member>,
    /// Whether the list of members was ever read: now, or before.
    pub listed: bool,
    /// The route tables: read now, or known from before, or none.
    pub tables: Option<Vec<Table>>,
    /// The reads that failed.
    pub problems: Vec<(Topic, String)>,
}

/// Reads members and route tables concurrently.
pub(super) async fn gather(observer: &Observer, balancer: &Balancer, facts: &Facts) -> FirstReads {
    let end = Instant::now() + LIMIT;
    let before = ApiSnapshot::load(Path::new(api_snapshot::PATH), &facts.instance);
    let (members_before, tables_before) = before.map(|known| (known.members, known.tables)).unzip();
    let known = members_before.unwrap_or_default();
    let ((sighting, unread), tables) =
        tokio::join!(members(observer, balancer.subnets.len(), facts.address, &known, end), tables(observer, end));
    let unread = unread.map(|error| (Topic::Members, unreadable(&error)));
    let (tables, no_tables) = match tables {
        Ok(tables) => (Some(tables), None),
        Err(error) => (None, Some((Topic::Tables, unreadable(&error)))),
    };
    if sighting.is_none() {
        tracing::warn!(
            "cannot read the members, continuing with {}",
            if known.is_empty() { "no peers" } else { "the peers known before" }
        );
    }
    let whole = sighting.as_ref().is_some_and(|sighting| sighting.whole);
    FirstReads {
        listed: whole || !known.is_empty(),
        members: joined(sighting, known),
        tables: tables.or(tables_before).or_else(|| listed(&balancer.route_tables)),
        problems: unread.into_iter().chain(no_tables).collect(),
    }
}

/// The members that were seen, and the known ones unless the read is whole.
fn joined(sighting: Option<Sighting>, known: Vec<Member>) -> Vec<Member> {
    let Some(Sighting { mut members, whole, .. }) = sighting else { return known };
    let unseen = known.into_iter().filter(|_| !whole);
    let unseen: Vec<Member> = unseen.filter(|one| members.iter().all(|seen| seen.instance != one.instance)).collect();
    members.extend(unseen);
    members
}

/// The snapshot of an earlier agent on this node, if it has route tables.
pub(super) fn known(facts: &Facts) -> Option<FirstReads> {
    let ApiSnapshot { members, tables, .. } = ApiSnapshot::load(Path::new(api_snapshot::PATH), &facts.instance)?;
    (!tables.is_empty()).then(|| FirstReads {
        listed: !members.is_empty(),
        members,
        tables: Some(tables),
        problems: Vec::new(),
    })
}

/// Reads the members until all nodes are there, or the time is over.
async fn members(
    observer: &Observer,
    nodes: usize,
    me: Ipv4Addr,
    known: &[Member],
    end: Instant,
) -> (Option<Sighting>, Option<ApiError>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
    let mut read = None;
    loop {
        let trouble = match in_time(end, "DescribeInstances", observer.members(known)).await {
            Ok(sighting) => {
                let (roster, trouble) = (Roster::of(&sighting.members, me), sighting.trouble.clone());
                let peers = roster.peers().len();
                read = Some(sighting);
                if roster.complete(nodes) {
                    return (read, trouble);
                }
                tracing::info!(target: CONSOLE, found = peers, expected = nodes - 1, "waiting for peers");
                trouble
            }
            Err(error) => {
                tracing::warn!("cannot read the members: {error}");
                Some(error)
            }
        };
        let pause = backoff.next_pause();
        if Instant::now() + pause > end {
            return (read, trouble);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn tables(observer: &Observer, end: Instant) -> Result<Vec<Table>, ApiError> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
    loop {
        let error = match in_time(end, "DescribeRouteTables", observer.tables()).await {
            Ok(tables) => return Ok(tables),
            Err(error) => error,
        };
        tracing::warn!("cannot read the route tables: {error}");
        let pause = backoff.next_pause();
        if Instant::now() + pause > end {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Gives up a read at `end`: the boot doesn't wait for a slow API, and the refresher reads again later.
async fn in_time<T>(
    end: Instant,
    action: &'static str,
    read: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let late = || ApiError { action, kind: Kind::Unavailable, message: "no answer in time".to_owned() };
    tokio::time::timeout_at(end, read).await.unwrap_or_else(|_| Err(late()))
}

/// A failed read, as the board shows it.
pub fn unreadable(error: &ApiError) -> String {
    format!("cannot read the API: {error}")
}

/// Route tables that the balancer's file lists are known without a read.
fn listed(wanted: &RouteTables) -> Option<Vec<Table>> {
    let RouteTables::Only(ids) = wanted else { return None };
    let table = |id: &String| Table { id: TableId(id.clone()), serves: Serves::NoSubnet, routes: Default::default() };
    Some(ids.iter().map(table).collect())
}

/// `members`, with this node as IMDS shows it: the API's answers may be older than the node.
pub(super) fn with_me(mut members: Vec<Member>, facts: &Facts) -> Vec<Member> {
    if members.iter().all(|member| member.instance != facts.instance) {
        members.push(Member {
            instance: facts.instance.clone(),
            interface: facts.interface.clone(),
            address: facts.address,
            zone: facts.zone.clone(),
            subnet: facts.subnet.clone(),
            ending: false,
            // Counts as on until the API shows that it is off.
            source_dest_check: true,
            reported: false,
            says: None,
            alive: None,
            unreachable: vec![],
        });
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::members::tests::member;

    fn facts() -> Facts {
        Facts {
            instance: "i-a".into(),
            interface: "eni-1".into(),
            mac: "0a:00:00:00:00:01".into(),
            address: Ipv4Addr::new(10, 0, 1, 1),
            groups: vec!["sg-1".into()],
            vpc: "vpc-1".into(),
            subnet: "subnet-a".into(),
            zone: "eu-west-1a".into(),
            region: "eu-west-1".into(),
            tags: Default::default(),
        }
    }

    #[test]
    fn a_node_that_the_api_does_not_know_yet_knows_itself() {
        let members = with_me(vec![member("i-b", 2)], &facts());
        let me = members.iter().find(|member| member.instance == "i-a".into()).unwrap();
        assert_eq!(me.subnet, "subnet-a");
        assert!(me.source_dest_check);
        assert_eq!(with_me(members.clone(), &facts()), members, "it is there once");
    }

    #[test]
    fn a_known_member_stays_unless_a_whole_list_misses_it() {
        let known = || vec![member("i-b", 2), member("i-c", 3)];
        let seen = |whole| Some(Sighting { members: vec![member("i-c", 3)], whole, trouble: None });
        assert_eq!(joined(None, known()), known());
        assert_eq!(joined(seen(true), known()), [member("i-c", 3)]);
        assert_eq!(joined(seen(false), known()), [member("i-c", 3), member("i-b", 2)]);
    }

    #[test]
    fn listed_tables_need_not_be_found() {
        let tables = listed(&RouteTables::Only(vec!["rtb-2".into()])).unwrap();
        assert_eq!(tables[0].id, "rtb-2".into());
        assert_eq!(listed(&RouteTables::All), None);
    }
}
