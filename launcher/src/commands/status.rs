//! `status`: shows balancers by the reports of their nodes and where the routes lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use templates::balancer::Iam;
use templates::names::TAG_UPDATE;

use crate::assess::silent;
use crate::assess::target_groups::GroupHealth;
use crate::assess::{Assessment, Expected, VipHealth, Watch, assess, unwell};
use crate::aws::error::{CallFailed, Reason};
use crate::aws::{self, Aws, retry::pause};
use crate::cli::{Cli, Status};
use crate::commands::list;
use crate::listener_probe::{Probed, run::probe_observed};
use crate::model::group_settings;
use crate::model::identity;
use crate::model::observe::{Glance, Kind, Observed, Unread, glance_and};
use crate::model::operator_tags;
use crate::output::failure::{Failure, check_name, looking};
use crate::output::progress::Progress;
use crate::output::table::columns;
use crate::output::{self, Output, sanitize};
use crate::plan::other_boundary;
use crate::preflight::changed_by_hand;
use crate::resources::image;
use crate::resources::route_tables::{self, Table};
use crate::resources::scaling_group::{self, ScalingGroup};
use crate::update::lease::Lease;

/// One balancer, for `--output json`.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    vpc: Option<String>,
    revision: Option<String>,
    image: Option<String>,
    /// The live lease, if an update is under way.
    update: Option<String>,
    /// Resources of others that look like a part of it.
    notes: Vec<String>,
    degraded: bool,
    /// The target groups of which some targets aren't healthy, but enough.
    warnings: Vec<String>,
    /// A line for each target that is down.
    #[serde(skip)]
    down: Vec<String>,
    /// The reads that failed, and why.
    unread: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<Probed>,
    #[serde(flatten)]
    assessment: Assessment,
}

/// The pause between two looks with `--wait`.
const AGAIN: Duration = Duration::from_secs(2);

/// What was found.
struct Looked {
    all: Vec<Shown>,
    /// Why the list of balancers may be incomplete.
    unread: Vec<String>,
}

/// What prevents a launch, if anything does.
type Trouble = Result<Option<String>, CallFailed>;

/// What is read beside the rest of the balancer, so that two rounds of calls are enough.
struct Beside {
    tables: Result<Vec<Table>, CallFailed>,
    /// None while the Auto Scaling group launches another version than the default: its image isn't known yet.
    image: Option<Trouble>,
    /// The group's last launch. It counts only if the group is launching, which its refresh tells.
    launches: Trouble,
}

impl Beside {
    async fn read(aws: &Aws, observed: &Observed) -> Beside {
        let tables = async {
            match observed.vpc() {
                Some(vpc) => route_tables::find(&aws.ec2, vpc).await,
                None => Ok(Vec::new()),
            }
        };
        let image = async {
            match observed.template.as_ref().filter(|_| observed.pinned_elsewhere().is_none()) {
                Some(template) => Some(image::unlaunchable(&aws.ec2, &template.contents.image).await),
                None => None,
            }
        };
        let launches = async {
            match observed.scaling.as_ref().filter(|group| !group.deleting) {
                Some(group) => scaling_group::failure(&aws.auto_scaling, &group.name).await,
                None => Ok(None),
            }
        };
        let (tables, image, launches) = futures::join!(tables, image, launches);
        Beside { tables, image, launches }
    }
}

impl Looked {
    fn is_degraded(&self) -> bool {
        self.all.iter().any(|one| one.degraded) || !self.unread.is_empty()
    }
}

/// Prints the balancers, and fails if one is degraded; with `--wait`, if one still is at its end.
pub async fn run(cli: &Cli, args: &Status) -> Result<(), Failure> {
    args.name.as_deref().map_or(Ok(()), check_name)?;
    let aws = aws::connect(&cli.account()).await?;
    let (began, progress) = (Instant::now(), Progress::new());
    let looked = loop {
        let looked = look(&aws, args).await?;
        if !looked.is_degraded() || args.wait.is_none_or(|wait| began.elapsed() >= wait) {
            break looked;
        }
        for one in looked.all.iter().filter(|one| one.degraded) {
            let why = one.assessment.problems.iter().chain(&one.unread).chain(&one.assessment.messages);
            progress.live(&one.name, why.chain(&one.warnings).next().map_or("degraded", String::as_str));
        }
        pause(AGAIN).await;
    };
    progress.clear();
    let Looked { all, unread } = &looked;
    unread.iter().for_each(|error| output::warn(&format!("there may be more balancers: {error}")));
    match (cli.output, &args.name, &all[..]) {
        (Output::Json, Some(_), [one]) => output::result(cli.output, one, "")?,
        (Output::Json, ..) => {
            output::result(cli.output, &json!({"region": aws.region, "balancers": all, "unread": unread}), "")?
        }
        (Output::Text, _, []) => output::print(&format!("no balancers in {}", aws.region))?,
        (Output::Text, ..) => output::print(&all.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    if looked.is_degraded() { Err(Failure::Degraded) } else { Ok(()) }
}

async fn look(aws: &Aws, args: &Status) -> Result<Looked, Failure> {
    let (names, unread): (Vec<String>, Vec<CallFailed>) = match &args.name {
        Some(name) => (vec![name.clone()], Vec::new()),
        None => {
            let (found, unread) = list::find(aws).await;
            (found.into_keys().collect(), unread)
        }
    };
    let mut all = Vec::new();
    for name in &names {
        let (mut glance, beside) =
            glance_and(aws, name, async |observed: &Observed| Beside::read(aws, observed).await).await;
        let observed = &glance.observed;
        let owned =
            observed.parts().iter().any(|part| part.tags.balancer() == Some(name)) || observed.live().count() > 0;
        let owned = owned || observed.live_untagged().next().is_some();
        if !owned {
            observed.asides.iter().for_each(|line| output::warn(line));
            return Err(unknown(aws, name, glance.unread));
        }
        let mut one = shown(aws, name, &mut glance, beside).await;
        one.degraded |= args.strict && !one.warnings.is_empty();
        if args.probe {
            let probed = probe_observed(aws, name, &glance.observed, &Progress::new()).await;
            one.degraded |= probed.outcome().is_err();
            one.probe = Some(probed);
        }
        all.push(one);
    }
    if let (Some(_), []) = (unread.first(), &all[..]) {
        return Err(unread.into_iter().map(looking).next().unwrap_or(Failure::Degraded));
    }
    Ok(Looked { all, unread: unread.iter().map(CallFailed::to_string).collect() })
}

/// The failure for a name of which nothing was found: it doesn't exist, or couldn't be read.
pub fn unknown(aws: &Aws, name: &str, unread: Vec<Unread>) -> Failure {
    if unread.is_empty() {
        return Failure::bad_input(format!("there is no balancer named {name:?} in {}", aws.region));
    }
    if let Some(found) = unread.iter().position(|one| matches!(one.error.reason, Reason::NoCredentials(_))) {
        return looking(unread.into_iter().nth(found).expect("it was found there").error);
    }
    let line = format!("nothing of a balancer named {name:?} can be read in {}", aws.region);
    Failure::Unfinished([line].into_iter().chain(unread.iter().map(Unread::to_string)).collect())
}

async fn shown(aws: &Aws, name: &str, glance: &mut Glance, beside: Beside) -> Shown {
    let vpc = glance.observed.vpc().map(str::to_owned);
    let tables = glance.take(Kind::Tables, beside.tables);
    let observed = &glance.observed;
    let config = observed.config();
    let expected = config.as_ref().map_or_else(
        || Expected {
            revision: templates::balancer::Revision(String::new()),
            subnets: Vec::new(),
            launch: templates::balancer::Launch::default(),
            virtual_ips: Vec::new(),
            route_tables: templates::balancer::RouteTables::All,
            target_groups: BTreeMap::new(),
            without: Vec::new(),
        },
        Expected::from,
    );
    let mut assessment = assess(&expected, &observed.nodes, &tables);
    let mut missing = absent(glance, vpc.as_deref());
    let template = observed.template.as_ref();
    missing.extend(
        template
            .and_then(|template| changed_by_hand::unreadable(template).or_else(|| changed_by_hand::by_hand(template))),
    );
    let judged = config.as_ref().filter(|_| glance.has_read(Kind::Nodes) && glance.has_read(Kind::Scaling));
    missing.extend(judged.iter().flat_map(|config| group_settings::problems(&config.balancer, observed)));
    missing.extend(judged.iter().flat_map(|config| operator_tags::problems(&config.balancer, observed)));
    missing.extend(judged.and_then(|config| boundary(&config.balancer.iam, observed)));
    missing.extend(judged.and_then(|config| group_settings::in_one_zone(&config.balancer, observed)));
    if !glance.has_read(Kind::Nodes) {
        // The nodes that couldn't be read may exist and be active.
        assessment.problems = assessment.nodes.iter().filter_map(|node| unwell(&expected, node)).collect();
    }
    missing.extend(observed.live_untagged().map(|node| identity::untagged(name, node)));
    if config.is_none() {
        // Without a configuration the reports of the nodes can only be shown, not judged.
        assessment.problems.clear();
    }
    let problems = std::mem::take(&mut assessment.problems);
    missing.extend(silent::explained(problems, &assessment.nodes, name, &aws.region, Timestamp::now()));
    assessment.problems = missing;
    let groups = &assessment.target_groups;
    let nodes = vpc.as_deref().and_then(|vpc| observed.group(vpc)).map(|group| group.id.as_str());
    let down = groups.iter().flat_map(|group| group.lines(nodes, Timestamp::now())).collect();
    let warnings: Vec<String> = groups.iter().filter_map(GroupHealth::warning).collect();
    assessment.problems.extend(groups.iter().filter_map(GroupHealth::shortage));
    let (failures, unread) = launch_failures(aws, observed, (beside.image, beside.launches)).await;
    assessment.problems.extend(failures);
    let unread: Vec<String> = glance.lines().into_iter().chain(unread).collect();
    Shown {
        name: name.to_owned(),
        vpc,
        revision: observed.template.as_ref().map(|template| template.revision.clone()),
        image: observed.template.as_ref().map(|template| template.contents.image.clone()),
        update: observed
            .template
            .as_ref()
            .and_then(|template| Lease::in_the_way(template.tags.get(TAG_UPDATE)))
            .map(|lease| lease.described()),
        notes: observed.asides.clone(),
        degraded: !assessment.problems.is_empty() || !assessment.messages.is_empty() || !unread.is_empty(),
        warnings,
        down,
        unread,
        probe: None,
        assessment,
    }
}

/// What prevents launches: the image, or the reason why the group lacks instances. And a line for each failed read.
async fn launch_failures(
    aws: &Aws,
    observed: &Observed,
    (image, launches): (Option<Trouble>, Trouble),
) -> (Vec<String>, Vec<String>) {
    let image = match (image, &observed.template) {
        (Some(image), _) => image,
        (None, Some(template)) => image::unlaunchable(&aws.ec2, &template.contents.image).await,
        (None, None) => Ok(None),
    };
    let group = match observed.scaling.as_ref().is_some_and(ScalingGroup::is_launching) {
        true => launches,
        false => Ok(None),
    };
    let (failures, unread): (Vec<_>, Vec<_>) = [image, group].into_iter().partition(Result::is_ok);
    let unread = unread.into_iter().filter_map(Result::err).map(|error| error.to_string());
    (failures.into_iter().flatten().flatten().collect(), unread.collect())
}

/// The problem of a role that lost its permissions boundary, or has another one.
fn boundary(iam: &Iam, observed: &Observed) -> Option<String> {
    let role = observed.role.as_ref().filter(|_| iam.owns_role())?;
    let wanted = other_boundary(iam, role)?;
    let there = role.boundary.as_deref().unwrap_or("none");
    Some(format!(
        "IAM role {} has the permissions boundary {there} instead of {wanted}: run `launcher create` to set it",
        role.name
    ))
}

/// The missing parts of a balancer, a line each.
fn absent(glance: &Glance, vpc: Option<&str>) -> Vec<String> {
    let observed = &glance.observed;
    let config = observed.config();
    let owns = |what: fn(&Iam) -> bool| config.as_ref().is_none_or(|config| what(&config.balancer.iam));
    let parts = [
        (Kind::Template, observed.template.is_some()),
        (Kind::Groups, vpc.is_some_and(|vpc| observed.group(vpc).is_some())),
        (Kind::Role, observed.role.is_some() || !owns(Iam::owns_role)),
        (Kind::Profile, observed.profile.is_some() || !owns(Iam::owns_profile)),
    ];
    let missing = parts.iter().filter(|(what, there)| !there && glance.has_read(*what));
    missing
        .map(|(what, _)| {
            format!("its {what} is missing: `launcher create` makes it again, `launcher destroy` removes the rest")
        })
        .collect()
}

fn text(one: &Shown) -> String {
    let health = match one.degraded {
        true => "DEGRADED",
        false if !one.warnings.is_empty() => "healthy, with warnings",
        false => "healthy",
    };
    let revision = one.revision.as_ref().map(|revision| format!(", revision {revision}")).unwrap_or_default();
    let vpc = one.vpc.as_ref().map(|vpc| format!(" in {vpc}")).unwrap_or_default();
    let mut text = format!("{}{vpc}: {health}{revision}\n", one.name);
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    if !one.assessment.nodes.is_empty() {
        let head = ["SLOT", "INSTANCE", "ZONE", "ADDRESS", "STATE", "ROLE", "REVISION"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(one.assessment.nodes.iter().map(|node| {
            vec![
                dash(&node.slot.map(|slot| slot.to_string())),
                node.instance.clone(),
                node.zone.clone(),
                dash(&node.address),
                match &node.unreachable {
                    Some(lost) => format!("unreachable since {}", lost.clock),
                    None => node.state.clone(),
                },
                dash(&node.roles.as_ref().map(|roles| roles.to_string())),
                match (&node.running, &node.ordered) {
                    (Some(running), Some(ordered)) => format!("{running}, ordered {ordered}"),
                    _ => dash(&node.running),
                },
            ]
        }));
        text.push_str(&columns(&rows));
    }
    if let Some(update) = &one.update {
        text.push_str(&format!("  … an update is under way, {update}\n"));
    }
    if !one.assessment.virtual_ips.is_empty() {
        let mut rows = vec![["VIRTUAL IP", "ACTIVE", "ROUTES", "REACHED FROM"].map(str::to_owned).to_vec()];
        rows.extend(one.assessment.virtual_ips.iter().map(|vip| {
            let active = if vip.active.is_empty() { "-".to_owned() } else { vip.active.join(" ") };
            vec![vip.address.to_string(), active, routes(vip), reached(vip)]
        }));
        text.push_str(&columns(&rows));
    }
    if !one.assessment.target_groups.is_empty() {
        let mut rows = vec![["TARGET GROUP", "HEALTHY"].map(str::to_owned).to_vec()];
        rows.extend(one.assessment.target_groups.iter().map(|group| vec![group.name.clone(), group.shown()]));
        text.push_str(&columns(&rows));
    }
    for line in &one.notes {
        text.push_str(&format!("  … {}\n", sanitize::line(line)));
    }
    let problems = one.assessment.problems.iter().chain(&one.unread).chain(&one.assessment.messages);
    for line in problems.chain(&one.warnings).chain(&one.down) {
        text.push_str(&format!("  ! {}\n", sanitize::line(line)));
    }
    text.extend(one.probe.iter().map(|probed| probed.text(Timestamp::now())));
    text
}

/// How many routes lead to the active node. If no node is active: where the routes lead.
fn routes(vip: &VipHealth) -> String {
    let right = vip.routes.iter().filter(|route| route.ok).count();
    let targets: BTreeSet<&str> = vip.routes.iter().filter_map(|route| route.target.as_deref()).collect();
    match vip.active.is_empty() && !targets.is_empty() {
        true => format!("{} to {}", vip.routes.len(), targets.into_iter().collect::<Vec<_>>().join(", ")),
        false => format!("{right} of {}", vip.routes.len()),
    }
}

/// The zones of the standbys that watch the virtual IP, and what they see.
fn reached(vip: &VipHealth) -> String {
    let shown = |watch: &Watch| match watch.reached {
        Some(true) => watch.zone.clone(),
        Some(false) => format!("not {}", watch.zone),
        None => format!("{} not known yet", watch.zone),
    };
    match &vip.watched[..] {
        [] => "not watched: no other node is standby".to_owned(),
        watched => watched.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}
