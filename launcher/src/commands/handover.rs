//! `handover`: asks the active node, by a tag, to hand its virtual IPs over, and waits until the routes follow.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::Serialize;
use templates::balancer::NodeConfig;
use templates::handover::Request;
use templates::names::TAG_DRAIN;

use crate::assess::{Assessment, Expected, assess};
use crate::aws::error::CallFailed;
use crate::aws::retry::pause;
use crate::aws::{self, Aws};
use crate::cli::{Cli, Handover};
use crate::handover::{self, Giver, Plan, Progress as Stage};
use crate::model::identity;
use crate::model::observe::{Kind, glance};
use crate::output::failure::{Failure, check_name, looking};
use crate::output::{self, progress::Progress};
use crate::preflight::changed_by_hand;
use crate::resources::{instances, route_tables, tagging};

/// Between two reads: two Describe calls, far below AWS's limits for an account.
const LOOK: Duration = Duration::from_millis(500);

/// The result, for `--output json`.
#[derive(Debug, Serialize)]
struct Handed<'a> {
    outcome: &'static str,
    balancer: &'a str,
    from: &'a [Giver],
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    status: &'a Assessment,
}

/// The balancer to hand over.
struct Task<'a> {
    aws: &'a Aws,
    name: &'a str,
    vpc: String,
    config: NodeConfig,
}

/// One read of the balancer.
struct Look {
    is: Assessment,
    /// The nodes that carry a request.
    asked: Vec<String>,
    /// Why the routes couldn't be read, if they couldn't.
    unread: Option<CallFailed>,
}

/// The request to the nodes.
struct Asked<'a> {
    plan: &'a Plan,
    /// The request's id.
    id: &'a str,
    /// Whether the routes could be read before the request.
    routed: bool,
    began: Instant,
}

pub async fn run(cli: &Cli, args: &Handover) -> Result<(), Failure> {
    check_name(&args.name)?;
    let aws = aws::connect(&cli.account()).await?;
    let glance = glance(&aws, &args.name).await;
    let observed = &glance.observed;
    observed.asides.iter().for_each(|line| output::warn(line));
    observed.live_untagged().for_each(|node| output::warn(&identity::untagged(&args.name, node)));
    let vpc = observed.vpc().map(str::to_owned);
    let (Some(vpc), true) = (vpc, observed.live().next().is_some()) else {
        if !glance.unread.is_empty() {
            return Err(super::status::unknown(&aws, &args.name, glance.unread));
        }
        return Err(Failure::bad_input(format!(
            "there is no balancer named {:?} with nodes in {}",
            args.name, aws.region
        )));
    };
    let config = observed.config().ok_or_else(|| {
        if let Some(unreadable) = observed.template.as_ref().and_then(changed_by_hand::unreadable) {
            return Failure::bad_input(unreadable);
        }
        if !glance.has_read(Kind::Template) {
            return Failure::Unfinished(glance.lines());
        }
        let missing = "has no launch template with its configuration; run `launcher create` to make it again";
        Failure::bad_input(format!("{} {missing}", args.name))
    })?;
    glance.lines().iter().for_each(|line| output::warn(line));
    let task = Task { aws: &aws, name: &args.name, vpc, config };
    let Look { is: before, asked, unread } = task.look().await.map_err(looking)?;
    let routed = unread.is_none();
    if let Some(error) = unread {
        output::warn(&format!("checking the nodes' roles only, not the routes: {error}"));
    }
    let plan =
        handover::plan(&before, task.config.balancer.failover.preempt, args.to.as_ref()).map_err(Failure::BadInput)?;
    handover::amiss(&before).for_each(|line| output::warn(line));
    if args.dry_run || plan.from.is_empty() {
        let (outcome, text) = match &plan.to {
            Some(taker) if plan.from.is_empty() => {
                ("unchanged", format!("{}: {} is active already", args.name, taker.called))
            }
            _ => ("dry-run", format!("{}: handover would\n  {}", args.name, plan.change())),
        };
        return task.report(cli, outcome, &plan, None, &before, &text);
    }
    let progress = Progress::new();
    progress.say(&format!("{}: {}", args.name, plan.change()));
    let began = Instant::now();
    // Nodes act on a request once. Tags that an earlier handover left are removed with this one's.
    let givers: Vec<String> = plan.from.iter().map(|giver| giver.instance.clone()).collect();
    let tagged: Vec<String> =
        asked.into_iter().filter(|id| !givers.contains(id)).chain(givers.iter().cloned()).collect();
    let request = request(&plan);
    tagging::set(&aws.ec2, &givers, TAG_DRAIN, &request.to_string()).await?;
    let asked = Asked { plan: &plan, id: &request.id, routed, began };
    let outcome = task.wait(&asked, args.timeout, &progress).await;
    progress.clear();
    let cleaned = tagging::remove(&aws.ec2, &tagged, TAG_DRAIN).await;
    let after = outcome?;
    if let Err(error) = cleaned {
        output::warn(&format!("the request stays in the tag {TAG_DRAIN}, which nodes follow once: {error}"));
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut text = format!("{} is handed over after {seconds:.1} s", args.name);
    for vip in &after.virtual_ips {
        let active = vip.active.join(", ");
        let routed = vip.routes.iter().filter(|route| route.ok).count();
        text.push_str(&format!("\n{} is served by {active}, routed in {routed} tables", vip.address));
    }
    task.report(cli, "handed-over", &plan, Some(seconds), &after, &text)
}

/// A request with a random id.
fn request(plan: &Plan) -> Request {
    Request { id: format!("{:016x}", rand::random::<u64>()), to: plan.to.as_ref().map(|taker| taker.instance.clone()) }
}

impl Task<'_> {
    async fn look(&self) -> Result<Look, CallFailed> {
        let (ec2, subnets) = (&self.aws.ec2, &self.config.balancer.subnets);
        let (nodes, tables) =
            futures::join!(instances::find(ec2, self.name, subnets), route_tables::find(ec2, &self.vpc));
        let nodes = match nodes {
            Ok(nodes) => nodes,
            // While a zone is disrupted, nodes of the other zones can be read by their ids.
            Err(error) => {
                let mut snapshot = instances::find_by_interfaces(ec2, self.name).await.nodes;
                if snapshot.is_empty() {
                    return Err(error);
                }
                instances::number(&mut snapshot, subnets);
                snapshot
            }
        };
        let (tables, unread) = tables.map_or_else(|error| (Vec::new(), Some(error)), |tables| (tables, None));
        let asked = nodes.iter().filter(|node| node.is_live() && node.tags.get(TAG_DRAIN).is_some());
        let asked = asked.map(|node| node.id.clone()).collect();
        Ok(Look { is: assess(&Expected::from(&self.config), &nodes, &tables), asked, unread })
    }

    async fn wait(&self, asked: &Asked<'_>, timeout: Duration, progress: &Progress) -> Result<Assessment, Failure> {
        let Asked { plan, id, routed, began } = *asked;
        loop {
            let left = match self.look().await {
                Ok(Look { unread: Some(error), .. }) if routed => vec![error.to_string()],
                Ok(Look { is: now, .. }) => match handover::progress(plan, id, &now) {
                    Stage::Done => return Ok(now),
                    Stage::Refused(why) => return Err(Failure::Failed(anyhow!("{}: {why}", self.name))),
                    Stage::Under(left) => left,
                },
                // The error may pass before the deadline.
                Err(error) => vec![error.to_string()],
            };
            if began.elapsed() >= timeout {
                let name = self.name;
                let left = left.join("; ");
                return Err(Failure::Failed(anyhow!(
                    "{name} isn't handed over in time: {left}; the request is withdrawn; run `launcher status {name}` to \
                     see the roles"
                )));
            }
            for line in &left {
                let (vip, what) = line.split_once(": ").unwrap_or((self.name, line));
                progress.live(vip, what);
            }
            pause(LOOK).await;
        }
    }

    fn report(
        &self,
        cli: &Cli,
        outcome: &'static str,
        plan: &Plan,
        seconds: Option<f64>,
        status: &Assessment,
        text: &str,
    ) -> Result<(), Failure> {
        let handed = Handed { outcome, balancer: self.name, from: &plan.from, seconds, status };
        output::result(cli.output, &handed, text)
    }
}
