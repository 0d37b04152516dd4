//! The tags that nodes write: when a peer is lost, when another program changes them, and orders that a node refuses.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed, wait_for};

use crate::operator::SECOND;
use crate::stage::{BOOT, play};

/// A survivor's tags report a lost peer within this time.
const SEEN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_dead_peer_is_reported_unreachable_until_it_answers_again_and_a_restarted_agent_is_not() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let rig = &stage.rig;
        rig.lab(["kill", &active])?;
        let lost = Instant::now();
        wait_for("the survivor's report", SEEN, || {
            let tags = tags(rig, &standby)?;
            let unreachable = tags.get("elbow:unreachable").context("no tag elbow:unreachable")?;
            ensure!(unreachable.starts_with(&format!("{active}@")), "elbow:unreachable is {unreachable}");
            ensure!(tags.contains_key("elbow:alive"), "{standby} has no tag elbow:alive");
            Ok(())
        })?;
        rig.figure("power cut: to the survivor's report of an unreachable peer", format!("{:.1?}", lost.elapsed()))?;
        let sign = tags(rig, &standby)?["elbow:alive"].clone();
        wait_for("another sign of life", Duration::from_secs(25), || {
            ensure!(tags(rig, &standby)?.get("elbow:alive").is_some_and(|now| *now > sign), "it is still {sign}");
            Ok(())
        })?;
        rig.lab(["reboot", &active])?;
        wait_for("the report tags to be deleted", BOOT, || {
            let tags = tags(rig, &standby)?;
            ensure!(["elbow:unreachable", "elbow:alive"].iter().all(|key| !tags.contains_key(*key)), "{tags:?}");
            Ok(())
        })?;
        stage.joined(&active)?;
        let (_, standby) = stage.pair()?;
        rig.inside(&standby, &["systemctl", "kill", "--signal=KILL", "elbow-agent"])?;
        let since = Instant::now();
        while since.elapsed() < SEEN {
            for (id, tags) in all(rig)? {
                ensure!(!tags.contains_key("elbow:unreachable"), "{id} reports a restarted agent as unreachable");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    })
}

#[test]
fn report_tags_that_another_writer_changes_or_deletes_are_repaired() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let rig = &stage.rig;
        let before = all(rig)?;
        let forged = ["Key=elbow:role,Value=fault", "Key=elbow:unreachable,Value=i-0@2026-01-01T00:00:00Z"];
        let set = ["ec2", "create-tags", "--resources", &active, "--tags"];
        rig.aws(set.into_iter().chain(forged))?;
        let lost = ["Key=elbow:running", "Key=elbow:role"];
        let delete = ["ec2", "delete-tags", "--resources", &standby, "--tags"];
        rig.aws(delete.into_iter().chain(lost))?;
        let since = Instant::now();
        wait_for("the tags to be repaired", SOON, || {
            let now = all(rig)?;
            ensure!(now == before, "the tags are {now:?}, and were {before:?}");
            Ok(())
        })?;
        rig.figure("report tags changed by another writer: to their repair", format!("{:.1?}", since.elapsed()))
    })
}

/// A tag alone can't return a node to a replaced revision; a changed default version can.
#[test]
fn an_order_to_an_older_version_than_the_default_is_refused_until_a_rollback_makes_it_the_default() -> Result<()> {
    play(|stage| {
        let (_, standby) = stage.pair()?;
        let rig = &stage.rig;
        let running = |id: &str| tags(rig, id)?.remove("elbow:running").context("no tag elbow:running");
        let template = |query: &str| {
            let query = format!("LaunchTemplates[0].{query}");
            let name = "--launch-template-names=elbow-web";
            rig.aws(["ec2", "describe-launch-templates", name, "--query", &query])
        };
        let (before, old) = (template("DefaultVersionNumber")?, running(&standby)?);
        let update = |file: &Path| printed(&rig.launcher(["update".as_ref(), file.as_os_str()])?).map(drop);
        update(&rig.balancer(|text| text + SECOND)?)?;
        let new = running(&standby)?;
        ensure!(template("DefaultVersionNumber")? != before && new != old, "the update changed nothing");
        let order = format!("Key=elbow:revision,Value={before}:{old}");
        rig.aws(["ec2", "create-tags", "--resources", &standby, "--tags", &order])?;
        wait_for("the refusal", SOON, || {
            let tags = tags(rig, &standby)?;
            let refused = tags.get("elbow:refused-revision").context("no tag elbow:refused-revision")?;
            ensure!(refused.contains("is older than the default"), "it refuses {refused:?}");
            Ok(())
        })?;
        ensure!(running(&standby)? == new, "{standby} runs another revision");
        let default = format!("--default-version={before}");
        rig.aws(["ec2", "modify-launch-template", "--launch-template-name=elbow-web", &default])?;
        wait_for("the node to run the new default", SOON, || {
            ensure!(running(&standby)? == old, "{standby} still runs {new}");
            Ok(())
        })?;
        update(&rig.balancer(|text| text)?)
    })
}

fn tags(rig: &Rig, id: &str) -> Result<BTreeMap<String, String>> {
    all(rig)?.remove(id).with_context(|| format!("{id} has no tags"))
}

/// The tags of the nodes of `web`.
fn all(rig: &Rig) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let filter = "--filters=Name=tag:elbow:balancer,Values=web";
    let said =
        rig.aws(["ec2", "describe-instances", filter, "--query=Reservations[].Instances[].[InstanceId, Tags]"])?;
    let nodes: Vec<(String, Vec<BTreeMap<String, String>>)> = serde_json::from_value(said)?;
    let pairs = |tags: Vec<BTreeMap<String, String>>| {
        tags.into_iter().filter_map(|mut tag| Some((tag.remove("Key")?, tag.remove("Value")?))).collect()
    };
    Ok(nodes.into_iter().map(|(id, tags)| (id, pairs(tags))).collect())
}
