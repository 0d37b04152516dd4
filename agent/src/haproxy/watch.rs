//! The agent's watch over HAProxy: a real request five times a second, and at once when one of its processes ends.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::opinion::Opinion;
use super::processes::Processes;
use super::{Serves, UNIT, answers, track};
use crate::host::files::Track;
use crate::host::systemd;
use crate::node::state::{Board, Topic};

/// From one request to the next. With three of the limit of one, an HAProxy that hangs is known after 1.4 s at most.
const EVERY: Duration = Duration::from_millis(200);
/// How often processes that have come are looked for; a new one is asked like the old ones until it is known.
const LOOK: Duration = Duration::from_secs(2);
/// How often an HAProxy that is down is started: systemd's own restart comes first.
const RESTART: Duration = Duration::from_secs(5);

/// Watches HAProxy for ever, telling keepalived through `file` and everybody else through `board`.
pub async fn watch(board: Board, file: &Path) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut opinion = Opinion::new(board.read().haproxy);
    let mut since = Instant::now();
    // What an agent before this one told keepalived may be wrong by now.
    let mut told = Track::at(file);
    let mut processes = Processes::named("haproxy");
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            processes.look();
            looked = Some(Instant::now());
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = processes.end() => looked = None,
        }
        let asked = Instant::now();
        let answer = answers().await;
        let turned = opinion.hear(&answer, asked.elapsed());
        told.tell(track(opinion.serves));
        if turned {
            (since, looked) = (Instant::now(), None);
            say(&board, opinion.serves, &answer);
        }
        if opinion.serves == Serves::No && since.elapsed() > RESTART {
            since = Instant::now();
            // Aside: systemd may take its time, and HAProxy may be back meanwhile.
            tokio::spawn(async {
                if let Err(error) = systemd::start(UNIT).await {
                    tracing::warn!("HAProxy is down: {error:#}");
                }
            });
        }
    }
}

fn say(board: &Board, serves: Serves, answer: &io::Result<()>) {
    let problem = answer.as_ref().err().map(|error| format!("HAProxy doesn't answer its health page: {error}"));
    match &problem {
        None => tracing::info!("HAProxy answers"),
        Some(problem) => tracing::error!("{problem}"),
    }
    board.change(|state| state.haproxy = serves);
    board.problem(Topic::Haproxy, problem);
}
