//! What the API knows, waited for only so long: a pair that is launched together finds each other within a second or
//! two, and an API that is out must not keep a node from serving.

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
use crate::node::known::{self, Known};
use crate::node::members::{Member, Roster, Sighting};
use crate::node::observe::Observer;
use crate::node::state::Topic;
use crate::node::tables::{Serves, Table};

/// How long peers are waited for at boot. A peer that comes later joins then.
const LIMIT: Duration = Duration::from_secs(10);

/// What could be learned.
#[derive(Debug)]
pub(super) struct Found {
    /// The members: read now, or known from before, or none.
    pub members: Vec<Member>,
    /// Whether the list of members was ever read: now, or before.
    pub listed: bool,
    /// The route tables: read now, or known from before, or none.
    pub tables: Option<Vec<Table>>,
    /// What the API refused, if it did.
    pub problems: Vec<(Topic, String)>,
}

/// Reads members and route tables at once.
pub(super) async fn gather(observer: &Observer, balancer: &Balancer, facts: &Facts) -> Found {
    let end = Instant::now() + LIMIT;
    let before = Known::load(Path::new(known::PATH), &facts.instance);
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
        tracing::warn!("going on with {}", if known.is_empty() { "no peers" } else { "the peers known before" });
    }
    let whole = sighting.as_ref().is_some_and(|sighting| sighting.whole);
    Found {
        listed: whole || !known.is_empty(),
        members: joined(sighting, known),
        tables: tables.or(tables_before).or_else(|| listed(&balancer.route_tables)),
        problems: unread.into_iter().chain(no_tables).collect(),
    }
}

/// Who was seen, and who was known before and needn't have been.
fn joined(sighting: Option<Sighting>, known: Vec<Member>) -> Vec<Member> {
    let Some(Sighting { mut members, whole, .. }) = sighting else { return known };
    let unseen = known.into_iter().filter(|_| !whole);
    let unseen: Vec<Member> = unseen.filter(|one| members.iter().all(|seen| seen.instance != one.instance)).collect();
    members.extend(unseen);
    members
}

/// What an earlier agent on this node knew, if it knew route tables.
pub(super) fn known(facts: &Facts) -> Option<Found> {
    let Known { members, tables, .. } = Known::load(Path::new(known::PATH), &facts.instance)?;
    (!tables.is_empty()).then(|| Found {
        listed: !members.is_empty(),
        members,
        tables: Some(tables),
        problems: Vec::new(),
    })
}

/// The members as soon as all nodes are there, or as they are at the end of the time.
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
                tracing::info!(target: CONSOLE, "waiting for peers: {peers} of {} there", nodes - 1);
                trouble
            }
            Err(error) => {
                tracing::warn!("waiting to find the peers: {error}");
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
        tracing::warn!("waiting to find the route tables: {error}");
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

/// What an unanswered question looks like on the board.
pub fn unreadable(error: &ApiError) -> String {
    format!("cannot read the API: {error}")
}

/// Tables that the operator listed need not be found.
fn listed(wanted: &RouteTables) -> Option<Vec<Table>> {
    let RouteTables::Only(ids) = wanted else { return None };
    let table = |id: &String| Table { id: TableId(id.clone()), serves: Serves::Nobody, routes: Default::default() };
    Some(ids.iter().map(table).collect())
}

/// `members` with this node in it as IMDS tells it: the API's view of a node that just started may be old.
pub(super) fn with_me(mut members: Vec<Member>, facts: &Facts) -> Vec<Member> {
    if members.iter().all(|member| member.instance != facts.instance) {
        members.push(Member {
            instance: facts.instance.clone(),
            interface: facts.interface.clone(),
            address: facts.address,
            zone: facts.zone.clone(),
            subnet: facts.subnet.clone(),
            ending: false,
            // Until an answer of the API says that it is off.
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
    fn who_was_known_stays_unless_a_whole_list_misses_it() {
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
