//! Asks peers for their health, and tells them when this node is no longer active.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use templates::paths::HEALTH_PORT;
use templates::report::{Moment, Unreachable};
use templates::{Role, Roles};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Health;
use super::reachability::{Heard, Silences};
use crate::aws::ids::InstanceId;
use crate::host::http;
use crate::node::state::{Board, State, Topic, VirtualIp};
use crate::ownership::decide::Word;
use crate::second_chance;

/// The time limit of an answer: peers are in the same Region.
const ANSWER: Duration = Duration::from_millis(300);
/// The pause between rounds of the watch.
const EVERY: Duration = Duration::from_millis(500);
/// The pause between signs of life while a peer is silent. A waiting peer reads the tags less often.
const SIGN: Duration = Duration::from_secs(20);
/// This node gives signs of life once a peer's agent is silent for this long. A restart takes less.
const QUIET: Duration = Duration::from_secs(4);
/// A silence is a problem on the board after this long.
const TELL: Duration = Duration::from_secs(15);

/// Asks `peer` for its health; `None` if it doesn't answer in time.
pub async fn ask(http: &reqwest::Client, peer: Ipv4Addr) -> Option<Health> {
    let url = format!("http://{peer}:{HEALTH_PORT}/health");
    let answer = http::asked(|| http.get(&url).timeout(ANSWER)).await.ok()?;
    serde_json::from_slice(&http::body(answer).await.ok()?).ok()
}

/// What a peer's answer says about the virtual IP at position `vip`.
pub fn word(health: &Health, vip: usize) -> Word {
    match (health.roles.0.get(vip), health.settled.get(vip)) {
        (Some(Role::Active), Some(false)) => Word::Waiting,
        (Some(Role::Active), _) => Word::Owner,
        _ => Word::Aside,
    }
}

/// Tells every peer that this node is no longer active.
pub async fn tell(http: &reqwest::Client, peers: &[Ipv4Addr]) {
    let tell = async |peer: &Ipv4Addr| {
        let url = format!("http://{peer}:{HEALTH_PORT}/stepped-back");
        if let Err(error) = http.post(url).timeout(ANSWER).send().await {
            tracing::info!(%peer, %error, "cannot tell a peer that this node is no longer active; it will see that at its next look");
        }
    };
    futures::future::join_all(peers.iter().map(tell)).await;
}

/// Asks all peers repeatedly; notifies `changed` when a peer starts or stops answering, or its answer changes.
pub async fn watch(http: reqwest::Client, board: Board, changed: Arc<Notify>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = BTreeMap::new();
    let mut silences = Silences::default();
    loop {
        ticks.tick().await;
        let state = board.read();
        let answers = state.peers.iter().map(|peer| round(&http, *peer, !state.answering.contains(peer)));
        let (answers, machines): (BTreeMap<_, _>, BTreeMap<_, _>) = futures::future::join_all(answers)
            .await
            .into_iter()
            .map(|(peer, answer, machine)| ((peer, answer), (peer, machine)))
            .unzip();
        let answers: BTreeMap<Ipv4Addr, _> = answers
            .into_iter()
            .map(|(peer, health)| (peer, health.map(|health| (health.roles, health.settled))))
            .collect();
        let (now, clock) = (Instant::now(), Timestamp::now());
        silences.note(&heard(&state, &answers, &machines), now, clock);
        board.change(|state| {
            let answering = answers.iter().filter(|(_, answer)| answer.is_some());
            state.answering = answering.map(|(peer, _)| *peer).collect();
            for (position, vip) in state.virtual_ips.iter_mut().enumerate() {
                let active = |answer: &Option<(Roles, _)>| {
                    answer.as_ref().is_some_and(|(roles, _)| roles.0.get(position) == Some(&Role::Active))
                };
                vip.followed |= vip.role != Role::Active && answers.values().any(active);
                let mut actives = answers.iter().filter(|(_, answer)| active(answer)).map(|(peer, _)| *peer);
                vip.served_by = actives.next().filter(|_| actives.next().is_none());
            }
            report(state, &silences, now, clock);
        });
        if answers != before {
            changed.notify_one();
            before = answers;
        }
    }
}

/// Asks one peer, and if it is `silent`, its kernel, too.
async fn round(http: &reqwest::Client, peer: Ipv4Addr, silent: bool) -> (Ipv4Addr, Option<Health>, bool) {
    let machine = async { silent && machine_answers(peer).await };
    let (health, machine) = tokio::join!(ask(http, peer), machine);
    (peer, health, machine)
}

/// Whether a peer's kernel answers, on the network or in the tunnel. A kernel refuses a connection where no program
/// listens, and completes one to a program that hangs.
pub async fn machine_answers(peer: Ipv4Addr) -> bool {
    let port = SocketAddrV4::new(peer, HEALTH_PORT);
    let (port, tunnel) =
        tokio::join!(second_chance::kernel_answers(port, ANSWER), second_chance::answers_in_tunnel(peer, ANSWER));
    port || tunnel
}

/// What a round heard from each peer, except for those that EC2 reports as shutting down: they fall silent anyway.
fn heard<T>(
    state: &State,
    answers: &BTreeMap<Ipv4Addr, Option<(Roles, T)>>,
    machines: &BTreeMap<Ipv4Addr, bool>,
) -> BTreeMap<Ipv4Addr, Heard> {
    let heard = |peer: &Ipv4Addr| match answers.get(peer) {
        Some(Some(_)) => Heard::Agent,
        _ if machines.get(peer) == Some(&true) || advertises(state, answers, *peer) => Heard::Machine,
        _ => Heard::Nothing,
    };
    let peers = answers.keys().filter(|peer| !state.ending.contains(peer));
    peers.map(|peer| (*peer, heard(peer))).collect()
}

/// Whether `peer` must be the MASTER that keeps this node BACKUP: no other peer is silent, and none reports active.
fn advertises<T>(state: &State, answers: &BTreeMap<Ipv4Addr, Option<(Roles, T)>>, peer: Ipv4Addr) -> bool {
    let alone = answers.iter().all(|(other, answer)| *other == peer || answer.is_some());
    let says = |vip: usize| {
        let mut roles = answers.values().flatten().map(|(roles, _)| roles.0.get(vip));
        roles.any(|role| role == Some(&Role::Active))
    };
    let backup = |(vip, mine): (usize, &VirtualIp)| mine.role == Role::Standby && !says(vip);
    alone && !state.problems.contains_key(&Topic::Keepalived) && state.virtual_ips.iter().enumerate().any(backup)
}

/// Reports silent and unreachable peers. A report about a peer stays until the opposite is known.
fn report(state: &mut State, silences: &Silences, now: Instant, clock: Timestamp) {
    let before = std::mem::take(&mut state.reports.unreachable).0;
    let gone = silences.unreachable(now);
    let entry = |(peer, instance): (&Ipv4Addr, &InstanceId)| {
        let known = before.get(&instance.0).copied();
        let since = match gone.get(peer) {
            Some(since) => known.or(Some(*since)),
            None => known.filter(|_| silences.is_open(*peer, now)),
        };
        Some((instance.0.clone(), since?))
    };
    let peers = state.instances.iter().filter(|(peer, _)| state.peers.contains(peer));
    state.reports.unreachable = Unreachable(peers.filter_map(entry).collect());

    let owner = state.virtual_ips.iter().any(|vip| vip.role == Role::Active && vip.settled);
    let silent = silences.longest(now).filter(|_| owner);
    state.reports.alive = silent.filter(|(time, _)| *time >= QUIET).map(|_| sign(state.reports.alive, clock));
    let told = silent.filter(|(time, _)| *time >= TELL).map(|(_, peer)| match gone.get(&peer) {
        Some(since) => format!("{peer} unreachable since {since}"),
        None => format!(
            "{peer} doesn't answer on port 9110: its agent is down, or the security group doesn't admit members on that port"
        ),
    });
    state.problem(Topic::Peers, told);
}

/// The sign of life: a new one once the last is [`SIGN`] old. A node that reads the change knows that this one runs and
/// reaches the API.
fn sign(last: Option<Moment>, clock: Timestamp) -> Moment {
    let age = |last: &Moment| clock.duration_since(last.timestamp()).unsigned_abs();
    last.filter(|last| age(last) < SIGN).unwrap_or(Moment::of(clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::report_tags::Reports;
    use crate::node::state::tests::state;

    #[test]
    fn an_active_node_is_the_owner_once_it_has_looked() {
        let mut state = state();
        assert_eq!(word(&Health::of(&state), 0), Word::Aside);
        state.virtual_ips[0].role = Role::Active;
        assert_eq!(word(&Health::of(&state), 0), Word::Waiting);
        state.virtual_ips[0].settled = true;
        assert_eq!(word(&Health::of(&state), 0), Word::Owner);
        assert_eq!(word(&Health::of(&state), 7), Word::Aside);
    }

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + second as i64).unwrap()
    }

    /// A node's state after rounds of `seconds` that all `heard` the same from its peer.
    fn after(seconds: u64, heard: Heard, mut state: State) -> State {
        let (mut silences, begin) = (Silences::default(), Instant::now());
        for second in 0..=seconds {
            let now = begin + Duration::from_secs(second);
            silences.note(&[(PEER, heard)].into(), now, at(second));
            report(&mut state, &silences, now, at(second));
        }
        state
    }

    fn owner() -> State {
        let mut state = state();
        (state.virtual_ips[0].role, state.virtual_ips[0].settled) = (Role::Active, true);
        state
    }

    #[test]
    fn a_node_reports_an_unreachable_peer_within_ten_seconds_and_withdraws_the_report() {
        let report = |heard| after(9, heard, state()).reports.unreachable.to_string();
        assert_eq!(report(Heard::Nothing), format!("i-b@{}", at(0)));
        assert_eq!(report(Heard::Machine), "");
        let mut state = after(9, Heard::Nothing, state());
        state = after(0, Heard::Agent, state);
        assert_eq!(state.reports, Reports::default());
    }

    #[test]
    fn a_restarted_agent_keeps_its_report() {
        let mut before = state();
        before.reports.unreachable = Unreachable([("i-b".to_owned(), Moment::of(at(0)))].into());
        let reports = |seconds, heard| after(seconds, heard, before.clone()).reports.unreachable;
        assert_eq!(reports(0, Heard::Nothing), before.reports.unreachable, "the opposite isn't known");
        assert_eq!(reports(30, Heard::Nothing), before.reports.unreachable, "the silence began then");
        assert_eq!(reports(0, Heard::Agent), Unreachable::default());
    }

    #[test]
    fn only_an_owner_gives_a_sign_of_life_every_twenty_seconds_while_a_peer_is_silent() {
        let signs = |state: &State, heard| -> Vec<Option<Moment>> {
            [0, 3, 4, 23, 24, 43, 44].map(|seconds| after(seconds, heard, state.clone()).reports.alive).into()
        };
        let moment = |second| Some(Moment::of(at(second)));
        let expected = [None, None, moment(4), moment(4), moment(24), moment(24), moment(44)];
        assert_eq!(signs(&owner(), Heard::Nothing), expected);
        assert_eq!(signs(&owner(), Heard::Machine), expected);
        assert_eq!(signs(&owner(), Heard::Agent), [None; 7]);
        assert_eq!(signs(&state(), Heard::Nothing), [None; 7]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_signs_of_life() {
        assert_eq!(sign(Some(Moment::of(at(3600))), at(10)), Moment::of(at(10)));
    }

    #[test]
    fn a_silent_peer_is_a_problem_with_a_stable_text() {
        let said = |heard| after(30, heard, owner()).problems.remove(&Topic::Peers).unwrap();
        assert_eq!(said(Heard::Nothing), format!("10.0.2.10 unreachable since {}", at(0)));
        assert!(said(Heard::Machine).starts_with("10.0.2.10 doesn't answer on port 9110: "));
        assert_eq!(after(10, Heard::Nothing, owner()).problems.len(), 0);
    }

    #[test]
    fn a_peer_that_keeps_this_node_backup_runs_and_one_that_shuts_down_is_ignored() {
        let answers = |roles: &[(u8, Option<Role>)]| -> BTreeMap<Ipv4Addr, Option<(Roles, ())>> {
            let answer = |(last, role): &(u8, Option<Role>)| {
                (Ipv4Addr::new(10, 0, 2, *last), role.map(|role| (Roles(vec![role]), ())))
            };
            roles.iter().map(answer).collect()
        };
        let heard =
            |state: &State, roles: &[(u8, Option<Role>)]| heard(state, &answers(roles), &BTreeMap::new()).remove(&PEER);
        assert_eq!(heard(&state(), &[(10, None)]), Some(Heard::Machine));
        assert_eq!(heard(&owner(), &[(10, None)]), Some(Heard::Nothing), "no MASTER is heard");
        assert_eq!(heard(&state(), &[(10, None), (11, Some(Role::Active))]), Some(Heard::Nothing), "another is MASTER");
        assert_eq!(heard(&state(), &[(10, None), (11, None)]), Some(Heard::Nothing), "either may be MASTER");
        let mut without = state();
        without.problems.insert(Topic::Keepalived, "down".into());
        assert_eq!(heard(&without, &[(10, None)]), Some(Heard::Nothing), "keepalived is down");
        let ending = State { ending: vec![PEER], ..state() };
        assert_eq!(heard(&ending, &[(10, None)]), None);
    }
}
