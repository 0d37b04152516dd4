//! Asking peers how they are, and telling them what they want to hear at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use templates::paths::HEALTH_PORT;
use templates::{Role, Roles, Slot};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use super::Health;
use crate::decide::Word;
use crate::state::{Board, Topic};

/// How long a peer may take to answer: it is in the same Region.
const ANSWER: Duration = Duration::from_millis(300);
/// From one round of the watch to the next.
const EVERY: Duration = Duration::from_millis(500);
/// How often an active node says in its tags that it lives, while a peer can't hear it say so. A waiting peer reads the
/// tags less often.
const SIGN: Duration = Duration::from_secs(20);

/// The slots that peers have, and their roles, as they say.
pub type Claims = BTreeMap<Ipv4Addr, (Slot, Roles)>;

/// Asks `peer` how it is; nothing if it doesn't answer in time.
pub async fn ask(http: &reqwest::Client, peer: Ipv4Addr) -> Option<Health> {
    let answer = http.get(format!("http://{peer}:{HEALTH_PORT}/health")).timeout(ANSWER).send().await.ok()?;
    answer.json().await.ok()
}

/// What a peer's answer says about the virtual IP at position `vip`.
pub fn word(health: &Health, vip: usize) -> Word {
    match (health.roles.0.get(vip), health.settled.get(vip)) {
        (Some(Role::Active), Some(false)) => Word::Waiting,
        (Some(Role::Active), _) => Word::Owner,
        _ => Word::Aside,
    }
}

/// Tells every peer that this node is active no more.
pub async fn tell(http: &reqwest::Client, peers: &[Ipv4Addr]) {
    let tell = async |peer: &Ipv4Addr| {
        let url = format!("http://{peer}:{HEALTH_PORT}/stepped-back");
        if let Err(error) = http.post(url).timeout(ANSWER).send().await {
            tracing::info!(%peer, "a peer wasn't told that this node stepped back, and will see for itself: {error}");
        }
    };
    futures::future::join_all(peers.iter().map(tell)).await;
}

/// Asks all peers again and again; `changed` is woken when one begins or ceases to answer, or answers something else.
/// `claims` are told the slots.
pub async fn watch(http: reqwest::Client, board: Board, changed: Arc<Notify>, claims: watch::Sender<Claims>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = BTreeMap::new();
    let mut silent: BTreeMap<Ipv4Addr, Instant> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let state = board.read();
        let answers = state.peers.iter().map(async |peer| (*peer, ask(&http, *peer).await));
        let answers = futures::future::join_all(answers).await;
        let says = answers.iter().filter_map(|(peer, health)| Some((*peer, health.as_ref()?)));
        let says: Claims = says.map(|(peer, health)| (peer, (health.slot, health.roles.clone()))).collect();
        claims.send_replace(says);
        let answers = answers.into_iter();
        let answers: BTreeMap<Ipv4Addr, _> =
            answers.map(|(peer, health)| (peer, health.map(|health| (health.roles, health.settled)))).collect();
        silent.retain(|peer, _| answers.get(peer).is_some_and(Option::is_none));
        for (peer, _) in answers.iter().filter(|(_, answer)| answer.is_none()) {
            silent.entry(*peer).or_insert_with(Instant::now);
        }
        // Of one that shuts down nothing else is to be expected.
        let missed = silent.iter().filter(|(peer, _)| !state.ending.contains(peer));
        let longest = missed.map(|(peer, since)| (since.elapsed(), *peer)).max();
        let owner = state.virtual_ips.iter().any(|vip| vip.role == Role::Active && vip.settled);
        board.problem(Topic::Peers, longest.filter(|_| owner).and_then(|(time, peer)| sign(peer, time)));
        board.change(|state| {
            let answering = answers.iter().filter(|(_, answer)| answer.is_some());
            state.answering = answering.map(|(peer, _)| *peer).collect();
            for (position, vip) in state.virtual_ips.iter_mut().enumerate() {
                let active = |answer: &Option<(Roles, _)>| {
                    answer.as_ref().is_some_and(|(roles, _)| roles.0.get(position) == Some(&Role::Active))
                };
                vip.followed |= vip.role != Role::Active && answers.values().any(active);
            }
        });
        if answers != before {
            changed.notify_one();
            before = answers;
        }
    }
}

/// A line that changes with time: who reads it twice knows that this node lives and reaches the API.
fn sign(peer: Ipv4Addr, silent: Duration) -> Option<String> {
    let times = silent.as_secs() / SIGN.as_secs();
    (times > 0).then(|| format!("{peer} hasn't answered for {} s; this node is active", times * SIGN.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::state;

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

    #[test]
    fn the_sign_of_life_changes_with_time() {
        let peer = Ipv4Addr::new(10, 0, 2, 10);
        assert_eq!(sign(peer, SIGN / 2), None);
        assert_eq!(sign(peer, SIGN).unwrap(), "10.0.2.10 hasn't answered for 20 s; this node is active");
        assert_ne!(sign(peer, SIGN), sign(peer, SIGN * 2));
        assert_eq!(sign(peer, SIGN), sign(peer, SIGN * 3 / 2));
    }
}
