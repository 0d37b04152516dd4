//! `init`: prints a balancer file for this account, and what was chosen and why.

use serde_json::json;

use crate::aws;
use crate::cli::{Cli, Init};
use crate::init::file::{Agent, problems, render};
use crate::init::{Wishes, choose, choose_vpc, read, wrong};
use crate::output::failure::{Failure, looking};
use crate::output::{self, Output};

pub async fn run(cli: &Cli, args: &Init) -> Result<(), Failure> {
    let wishes = wishes(args);
    refuse(wrong(&wishes))?;
    let aws = aws::connect(&cli.account()).await?;
    let region = read::region(&aws).await.map_err(looking)?;
    let (vpc, mut notes) = choose_vpc(&wishes, &region).map_err(Failure::BadInput)?;
    let place = read::place(&aws, &vpc.id).await.map_err(looking)?;
    let (draft, more) = choose(&wishes, &region, vpc, &place).map_err(Failure::BadInput)?;
    refuse(problems(&draft))?;
    notes.extend(more);
    let text = render(&draft);
    match cli.output {
        Output::Text => {
            notes.iter().for_each(|note| output::say(&format!("launcher: {note}")));
            output::file(&text)
        }
        Output::Json => output::result(cli.output, &json!({"outcome": "chosen", "file": text, "notes": notes}), ""),
    }
}

fn refuse(problems: Vec<String>) -> Result<(), Failure> {
    if problems.is_empty() { Ok(()) } else { Err(Failure::BadInput(problems)) }
}

fn wishes(args: &Init) -> Wishes {
    let agent = args.agent_url.clone().zip(args.agent_sha256.clone());
    Wishes {
        name: args.name.clone(),
        vpc: args.vpc.clone(),
        subnets: args.subnets.clone(),
        virtual_ip: args.virtual_ip,
        protocol: args.protocol,
        port: args.port,
        targets: args.targets.clone(),
        agent: agent.map(|(source, sha256)| Agent { source, sha256 }),
    }
}
