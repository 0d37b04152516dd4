//! The whole way: `launcher create`, a power cut of the active node while the prober asks every 10 ms, `launcher
//! destroy`.
//!
//! The power cut is TerminateInstances with `SkipOsShutdown`, the nearest that EC2 offers: the system isn't shut down, so
//! it says nothing to its peers (EC2 User Guide, "Methods for terminating an instance").

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_ec2::types::Filter;
use launcher::aws::Aws;
use launcher::aws::error::Named;
use launcher::model::tags::Tags;
use serde_json::json;

use crate::launcher_program;
use crate::names::Run;
use crate::probes::Probe;
use crate::progress::Progress;
use crate::say::say;
use crate::site::Site;

/// Limit for `create` and `destroy`.
const LIMIT: Duration = Duration::from_secs(420);

/// Where nodes fetch the agent.
#[derive(Debug, Clone)]
pub struct Agent {
    pub url: String,
    pub sha256: String,
}

/// Creates the balancer, cuts the power of its active node, and destroys it. Each step is a finding of its own.
pub async fn go(
    progress: &Progress<'_>,
    site: &Site,
    echoes: &[Probe; 2],
    prober: &Probe,
    agent: &Agent,
) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder for the balancer's file")?;
    let file = folder.path().join("balancer.toml");
    std::fs::write(&file, toml(progress.run, site, echoes, agent)).context("writing the balancer's file")?;
    let created = launch(progress, &["create".as_ref(), file.as_os_str()]).await;
    let serves = created.is_ok();
    progress.add("whole.create", created);
    if serves {
        let cut = cut(progress, site, prober).await;
        progress.add("whole.cut", cut.map(|id| json!({ "terminated": id })));
        if progress.has("prober.armed") {
            progress.until(&[("prober", prober)], &["prober.outage"]).await?;
        }
    }
    let name = progress.run.balancer();
    progress.add("whole.destroy", launch(progress, &["destroy".as_ref(), name.as_ref(), "--yes".as_ref()]).await);
    Ok(())
}

async fn launch(progress: &Progress<'_>, arguments: &[&std::ffi::OsStr]) -> Result<serde_json::Value> {
    let begin = Instant::now();
    say!("launcher {}", arguments[0].display());
    launcher_program::run(arguments, &progress.aws.region, LIMIT).await?;
    Ok(json!({ "seconds": (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0 }))
}

/// Has the prober measure, and cuts the active node's power. Returns its id.
async fn cut(progress: &Progress<'_>, site: &Site, prober: &Probe) -> Result<String> {
    let ec2 = &progress.aws.ec2;
    let order = Tags::from_iter([("prove-cut", "now")]).ec2();
    let call = ec2.create_tags().resources(&prober.id).set_tags(Some(order));
    call.send().await.named("ec2:CreateTags", &prober.id)?;
    progress.until(&[("prober", prober)], &["prober.armed", "prober.outage"]).await?;
    ensure!(
        progress.has("prober.armed"),
        "the prober doesn't ask the balancer; its error is the finding prober.outage"
    );
    let id = active(progress.aws, progress.run, site).await?;
    say!("cutting the power of {id}, the active node");
    let call = ec2.terminate_instances().instance_ids(&id).skip_os_shutdown(true);
    call.send().await.named("ec2:TerminateInstances", &id)?;
    Ok(id)
}

/// The instance to which the prober's table routes the balancer's virtual IP.
async fn active(aws: &Aws, run: &Run, site: &Site) -> Result<String> {
    let destination = format!("{}/32", run.balancer_ip());
    let call = aws.ec2.describe_route_tables().route_table_ids(&site.table);
    let tables = call.send().await.named("ec2:DescribeRouteTables", &site.table)?;
    let mut routes = tables.route_tables().iter().flat_map(|table| table.routes());
    let route = routes.find(|route| route.destination_cidr_block() == Some(&destination));
    let interface = route.and_then(|route| route.network_interface_id());
    let interface = interface.with_context(|| format!("{}: no route for {destination} to a node", site.table))?;
    let id = Filter::builder().name("network-interface-id").values(interface).build();
    let call = aws.ec2.describe_network_interfaces().filters(id);
    let found = call.send().await.named("ec2:DescribeNetworkInterfaces", interface)?;
    let attachment = found.network_interfaces().first().and_then(|interface| interface.attachment());
    let instance = attachment.and_then(|attachment| attachment.instance_id());
    Ok(instance.with_context(|| format!("{interface}: attached to no instance"))?.to_owned())
}

/// A balancer like a reader's: two nodes, and the echoes as its targets.
fn toml(run: &Run, site: &Site, echoes: &[Probe; 2], agent: &Agent) -> String {
    let targets: Vec<String> = echoes.iter().map(|echo| format!("{}:8080", echo.address)).collect();
    format!(
        "name = {:?}\nvpc = {:?}\nsubnets = {:?}\nvirtual_ips = [\"{}\"]\n\n[agent]\nsource = {:?}\nsha256 = {:?}\n\n\
         [[listener]]\nname = \"http\"\nport = 80\nprotocol = \"http\"\ntargets = {targets:?}\n\
         health_check = {{ path = \"/\" }}\n",
        run.balancer(),
        site.vpc,
        site.subnets,
        run.balancer_ip(),
        agent.url,
        agent.sha256,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balancers_file_is_valid() {
        let site = Site {
            vpc: "vpc-0a1b2c3d".into(),
            cidrs: vec![],
            subnets: ["subnet-0aaa".into(), "subnet-0bbb".into()],
            table: "rtb-1".into(),
        };
        let echo = |address: &str| Probe { id: String::new(), interface: String::new(), address: address.into() };
        let agent = Agent { url: "https://example.com/agent".into(), sha256: "0".repeat(64) };
        let run = Run::of("0a1b2c3d").unwrap();
        let text = toml(&run, &site, &[echo("10.0.1.4"), echo("10.0.2.4")], &agent);
        let balancer = templates::Balancer::parse(&text).unwrap();
        assert_eq!(balancer.name, "proof-0a1b2c3d");
    }
}
