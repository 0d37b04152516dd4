//! `status`: how balancers are, by what their nodes say and where the routes lead.

use serde::Serialize;
use serde_json::json;
use templates::names::TAG_UPDATE;

use crate::assess::{Assessment, Expected, assess};
use crate::aws::error::CallFailed;
use crate::aws::{self, Aws};
use crate::cli::{Cli, Status};
use crate::commands::list;
use crate::failure::{Failure, check_name, looking};
use crate::observe::{Observed, observe};
use crate::origin;
use crate::output::{self, Output, table::columns};
use crate::resources::route_tables;
use crate::scaling;
use crate::update::lease::Lease;

/// How one balancer is.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    vpc: Option<String>,
    revision: Option<String>,
    image: Option<String>,
    /// Who updates it at this moment.
    update: Option<String>,
    degraded: bool,
    #[serde(flatten)]
    assessment: Assessment,
}

/// Prints it, and fails if something is degraded.
pub async fn run(cli: &Cli, args: &Status) -> Result<(), Failure> {
    args.name.as_deref().map_or(Ok(()), check_name)?;
    let aws = aws::connect(&cli.account()).await?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => list::find(&aws).await.map_err(looking)?.into_keys().collect(),
    };
    let mut all = Vec::new();
    for name in &names {
        let observed = observe(&aws, name).await.map_err(looking)?;
        let owned =
            observed.parts().iter().any(|part| part.tags.balancer() == Some(name)) || observed.live().count() > 0;
        if !owned {
            return Err(Failure::bad_input(format!("there is no balancer named {name:?} in {}", aws.region)));
        }
        all.push(shown(&aws, name, &observed).await?);
    }
    let degraded = all.iter().any(|one| one.degraded);
    match (cli.output, &args.name, &all[..]) {
        (Output::Json, Some(_), [one]) => output::result(cli.output, one, "")?,
        (Output::Json, ..) => output::result(cli.output, &json!({"region": aws.region, "balancers": all}), "")?,
        (Output::Text, _, []) => output::print(&format!("no balancers in {}", aws.region))?,
        (Output::Text, ..) => output::print(&all.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    if degraded { Err(Failure::Degraded) } else { Ok(()) }
}

async fn shown(aws: &Aws, name: &str, observed: &Observed) -> Result<Shown, CallFailed> {
    let vpc = observed.vpc().map(str::to_owned);
    let tables = match &vpc {
        Some(vpc) => route_tables::find(&aws.ec2, vpc).await?,
        None => Vec::new(),
    };
    let config = observed.config();
    let expected = config.as_ref().map_or_else(
        || Expected {
            revision: templates::balancer::Revision(String::new()),
            nodes: 0,
            launch: templates::balancer::Launch::default(),
            virtual_ips: Vec::new(),
            route_tables: templates::balancer::RouteTables::All,
            without: Vec::new(),
        },
        Expected::from,
    );
    let mut assessment = assess(&expected, &observed.nodes, &tables);
    let mut missing = absent(observed, vpc.as_deref());
    let template = observed.template.as_ref();
    missing
        .extend(template.and_then(|template| origin::unreadable(template).or_else(|| origin::by_somebody(template))));
    missing.extend(config.iter().flat_map(|config| scaling::problems(&config.balancer, observed)));
    missing.extend(config.as_ref().and_then(|config| scaling::in_one_zone(&config.balancer, observed)));
    if config.is_none() {
        // Without it nothing is known of what its nodes should be; what they say is shown, not judged.
        assessment.problems.clear();
    }
    missing.append(&mut assessment.problems);
    assessment.problems = missing;
    Ok(Shown {
        name: name.to_owned(),
        vpc,
        revision: observed.template.as_ref().map(|template| template.revision.clone()),
        image: observed.template.as_ref().map(|template| template.contents.image.clone()),
        update: observed
            .template
            .as_ref()
            .and_then(|template| Lease::in_the_way(template.tags.get(TAG_UPDATE)))
            .map(|lease| lease.described()),
        degraded: !assessment.problems.is_empty() || !assessment.messages.is_empty(),
        assessment,
    })
}

/// The parts that a whole balancer has and this one hasn't.
fn absent(observed: &Observed, vpc: Option<&str>) -> Vec<String> {
    let parts = [
        ("launch template", observed.template.is_some()),
        ("security group", vpc.is_some_and(|vpc| observed.group(vpc).is_some())),
        ("IAM role", observed.role.is_some()),
        ("instance profile", observed.profile.is_some()),
    ];
    let missing = parts.iter().filter(|(_, there)| !there);
    missing
        .map(|(what, _)| {
            format!("its {what} is missing: `launcher create` makes it again, `launcher destroy` removes the rest")
        })
        .collect()
}

fn text(one: &Shown) -> String {
    let health = if one.degraded { "DEGRADED" } else { "healthy" };
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
                    (Some(running), Some(ordered)) => format!("{running}, told {ordered}"),
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
        let mut rows = vec![["VIRTUAL IP", "ACTIVE", "ROUTES"].map(str::to_owned).to_vec()];
        rows.extend(one.assessment.virtual_ips.iter().map(|vip| {
            let right = vip.routes.iter().filter(|route| route.ok).count();
            let active = if vip.active.is_empty() { "-".to_owned() } else { vip.active.join(" ") };
            vec![vip.address.to_string(), active, format!("{right} of {}", vip.routes.len())]
        }));
        text.push_str(&columns(&rows));
    }
    for line in one.assessment.problems.iter().chain(&one.assessment.messages) {
        text.push_str(&format!("  ! {line}\n"));
    }
    text
}
