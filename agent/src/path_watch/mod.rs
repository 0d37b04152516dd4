//! The path watch: every standby of a virtual IP sends requests to it through the VPC, from its own subnet, as a client
//! does. A standby that doesn't reach the active node tells it at once (`complaints`), and the active node reads and
//! repairs the routes. Neither makes a decision about ownership by itself.
//!
//! The active node doesn't probe itself: its packets would come back with its own source address, which Linux drops. A
//! lone node is not watched.

mod answer;
mod complaints;
mod history;
mod probe;
mod response;
mod rules;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use templates::Role;
use templates::files::stand_in;
use templates::report::Reached;
use tokio::time::MissedTickBehavior;

use crate::host::logs::CONSOLE;
use crate::node::state::{Board, State, Topic, VirtualIp};
use crate::telemetry::notify::{Event, Outbox, What};
pub(crate) use answer::answer;
pub(crate) use complaints::{channel, page};
use history::{Finding, History, Loss};
use probe::{Answer, Source};
pub(crate) use response::Response;
use rules::Rules;

/// The interval of probes.
const EVERY: Duration = Duration::from_secs(1);

/// The standby's part.
pub(crate) struct PathWatch {
    pub board: Board,
    pub http: reqwest::Client,
    pub outbox: Outbox,
    pub interface: String,
    pub subnet: String,
    pub zone: String,
}

impl PathWatch {
    /// Probes every virtual IP that this node is standby of, forever.
    pub(crate) async fn run(self) {
        let mut rules = Rules::new(self.interface.clone());
        let mut histories: BTreeMap<Ipv4Addr, History> = BTreeMap::new();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let state = self.board.read();
            let vips = state.addresses();
            // Without the rules a probe would leave for the stand-in address.
            let unloaded = rules.ensure(&vips).await.err();
            let looks = state.virtual_ips.iter().enumerate().map(async |(position, vip)| match unloaded {
                Some(_) => Finding::Unknown,
                None => self.look(&state, position, vip).await,
            });
            let findings = futures::future::join_all(looks).await;
            let now = Instant::now();
            histories.retain(|vip, _| vips.contains(vip));
            for (vip, finding) in state.virtual_ips.iter().zip(findings) {
                let history = histories.entry(vip.address).or_default();
                history.note(finding, now);
                if vip.role != Role::Standby {
                    history.pause();
                }
                self.tell(vip.address, history);
            }
            self.show(&histories, unloaded);
        }
    }

    /// Probes one virtual IP, and again at once after a failure. A failure counts if the active node answers on its own
    /// address, on a new connection as well: a connection that is open already outlives a closed rule. Nodes of another
    /// revision may have other virtual IPs, or none of these listeners.
    async fn look(&self, state: &State, position: usize, vip: &VirtualIp) -> Finding {
        let Some(active) = vip.served_by.filter(|_| vip.role == Role::Standby) else { return Finding::Unknown };
        let source = Source(&self.interface);
        let mut how = Loss::Silence;
        for _ in 0..2 {
            how = match source.probe(stand_in(position)).await {
                Answer::From(health) if health.revision != state.revision => return Finding::Unknown,
                Answer::From(health) if state.instances.get(&active) == Some(&health.instance) => {
                    return Finding::Reached;
                }
                Answer::From(health) => Loss::Elsewhere(health.instance),
                Answer::Refused => Loss::Refused,
                Answer::None => Loss::Silence,
                Answer::Unsent => return Finding::Unknown,
            };
            match source.probe(active).await {
                Answer::From(own) if own.revision != state.revision => return Finding::Unknown,
                Answer::From(own) if own.roles.0.get(position) != Some(&Role::Active) => return Finding::Unknown,
                Answer::From(own) if how == Loss::Elsewhere(own.instance.clone()) => return Finding::Reached,
                Answer::From(_) => {}
                Answer::None => return Finding::Closed { active },
                // Its agent restarts.
                Answer::Refused | Answer::Unsent => return Finding::Unknown,
            }
        }
        Finding::Lost { active, how }
    }

    /// Tells the active node about a loss, and the webhook about a change of what is shown. A path that never worked is
    /// only shown: the VPC may drop these packets for a reason that no node can mend.
    fn tell(&self, vip: Ipv4Addr, history: &mut History) {
        if let Some(active) = history.complains_to() {
            let http = self.http.clone();
            tokio::spawn(async move { complaints::send(&http, active, vip).await });
        }
        let Some(reached) = history.announce() else { return };
        match history.problem(vip, &self.place()) {
            Some(problem) => tracing::warn!(target: CONSOLE, "{problem}"),
            None => tracing::info!(target: CONSOLE, %vip, from = self.subnet, "virtual IP is reachable again"),
        }
        let what = What::Path { reached, subnet: self.subnet.clone() };
        self.outbox.put(Event::now(vip, what, self.board.read().problems.into_values().collect()));
    }

    fn show(&self, histories: &BTreeMap<Ipv4Addr, History>, unloaded: Option<String>) {
        let place = self.place();
        let problems = histories.iter().filter_map(|(vip, history)| history.problem(*vip, &place));
        let problems: Vec<String> = unloaded.into_iter().chain(problems).collect();
        self.board.change(|state| {
            for vip in &mut state.virtual_ips {
                vip.reached = histories.get(&vip.address).map_or(Reached::Unknown, History::reached);
            }
            state.problem(Topic::Path, (!problems.is_empty()).then(|| problems.join("; ")));
        });
    }

    fn place(&self) -> String {
        format!("{} ({})", self.subnet, self.zone)
    }
}
