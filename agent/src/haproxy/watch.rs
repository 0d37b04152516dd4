//! Checks HAProxy by a request five times a second, and at once when one of its processes ends.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::verdict::Verdict;
use super::{Serves, UNIT, answers, check_version, track};
use crate::host::files::Track;
use crate::host::processes::Processes;
use crate::host::systemd;
use crate::node::state::{Board, Topic};

/// The pause between checks. Three checks at their time limit: a hung HAProxy is detected within 1.4 s.
const EVERY: Duration = Duration::from_millis(200);
/// How often the agent looks for new processes. Until it finds one, the regular checks cover it.
const LOOK: Duration = Duration::from_secs(2);
/// How often the agent starts an HAProxy that is down. systemd's own restart comes first.
const RESTART: Duration = Duration::from_secs(5);

/// Watches HAProxy forever; shows the result to keepalived in the track `file`, and to the agent on `board`.
pub async fn watch(board: Board, file: &Path) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut verdict = Verdict::new(board.read().haproxy);
    let mut since = Instant::now();
    // The value that an earlier agent wrote may be outdated.
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
        let turned = verdict.hear(&answer, asked.elapsed());
        told.tell(track(verdict.serves));
        if turned {
            (since, looked) = (Instant::now(), None);
            say(&board, verdict.serves, &answer);
        }
        if verdict.serves == Serves::No && since.elapsed() > RESTART {
            since = Instant::now();
            // In a task of its own: systemd may be slow, and HAProxy may recover meanwhile.
            tokio::spawn(async {
                let starting = async {
                    check_version().await?;
                    systemd::start(UNIT).await
                };
                if let Err(error) = starting.await {
                    tracing::warn!("cannot start HAProxy: {error:#}");
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
