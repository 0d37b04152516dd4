//! Reads the triggers of a handover from IMDS: the launcher's request in the tag `elbow:drain`, and the notices of AWS.
//! IMDS is throttled per instance, so each path is read every few seconds. While it is silent, the triggers stay.

use std::time::Duration;

use templates::names::TAG_DRAIN;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::notices::{self, Notice};
use crate::aws::imds::{Imds, ImdsError};

/// Short, as an operator waits for the answer.
const TAG: Duration = Duration::from_secs(2);
/// AWS recommends to look for Spot interruptions every five seconds.
const NOTICES: Duration = Duration::from_secs(5);

/// The triggers of a handover.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Triggers {
    /// The value of the tag `elbow:drain`, if it is set.
    pub asked: Option<String>,
    /// Whether an Auto Scaling group terminates this node.
    pub ending: bool,
    spot: Vec<Notice>,
    lifecycle: Vec<Notice>,
    maintenance: Vec<Notice>,
}

impl Triggers {
    /// The notices of AWS, the most urgent kind first.
    pub fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.spot.iter().chain(&self.lifecycle).chain(&self.maintenance)
    }
}

/// Watches for ever. Sends the first triggers after one read of every path, whether it was answered or not.
pub async fn watch(imds: Imds, triggers: watch::Sender<Option<Triggers>>) {
    let mut seen = Triggers::default();
    let (mut tags, mut rounds) = (ticks(TAG), ticks(NOTICES));
    let mut turn = 0_u32;
    loop {
        tokio::select! {
            _ = tags.tick() => ask_tag(&imds, &mut seen).await,
            _ = rounds.tick() => ask_notices(&imds, &mut seen).await,
        }
        turn = turn.saturating_add(1);
        if turn > 1 {
            triggers.send_if_modified(|known| {
                let news = known.as_ref() != Some(&seen);
                *known = Some(seen.clone());
                news
            });
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn ask_tag(imds: &Imds, seen: &mut Triggers) {
    let path = format!("meta-data/tags/instance/{TAG_DRAIN}");
    take(imds.get(&path).await, |body| seen.asked = body.map(|body| body.trim().to_owned()));
}

async fn ask_notices(imds: &Imds, seen: &mut Triggers) {
    let (spot, lifecycle, maintenance) = tokio::join!(
        imds.get("meta-data/spot/instance-action"),
        imds.get("meta-data/autoscaling/target-lifecycle-state"),
        imds.get("meta-data/events/maintenance/scheduled"),
    );
    take(spot, |body| seen.spot = body.iter().map(|body| notices::spot(body)).collect());
    take(lifecycle, |body| {
        seen.ending = body.as_deref().is_some_and(notices::ends);
        seen.lifecycle = body.iter().filter_map(|body| notices::lifecycle(body)).collect();
    });
    take(maintenance, |body| match body.map_or(Ok(Vec::new()), |body| notices::maintenance(&body)) {
        Ok(notices) => seen.maintenance = notices,
        Err(error) => tracing::debug!("cannot read the scheduled maintenance in IMDS: {error}"),
    });
}

fn take(answer: Result<Option<String>, ImdsError>, with: impl FnOnce(Option<String>)) {
    match answer {
        Ok(body) => with(body),
        Err(error) => tracing::debug!("keeping the last triggers: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::imds::testing::Server;

    #[tokio::test]
    async fn triggers_are_read_from_imds_and_stay_while_it_is_silent() {
        let server = Server::start(&[
            ("meta-data/tags/instance/elbow:drain", "1-a to i-0abc"),
            ("meta-data/autoscaling/target-lifecycle-state", "Terminated"),
            ("meta-data/events/maintenance/scheduled", "[]"),
        ])
        .await;
        let imds = server.client();
        let mut seen = Triggers::default();
        ask_tag(&imds, &mut seen).await;
        ask_notices(&imds, &mut seen).await;
        assert_eq!(seen.asked.as_deref(), Some("1-a to i-0abc"));
        assert_eq!(
            seen.notices().map(|notice| notice.what.as_str()).collect::<Vec<_>>(),
            ["Auto Scaling (Terminated)"]
        );
        assert!(seen.ending);
        let before = seen.clone();
        server.refuse_tokens();
        server.revoke_tokens();
        ask_tag(&imds, &mut seen).await;
        ask_notices(&imds, &mut seen).await;
        assert_eq!(seen, before);
    }
}
