//! Writes the node's reports to its own tags, for the launcher and the other nodes. A tag is written when it changes,
//! changes that come together are written together, and a tag that another writer changed is repaired.

mod repair;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Tag;
use templates::listener_probe::Answer;
use templates::names::{
    REPORTS, TAG_ALIVE, TAG_MESSAGE, TAG_PROBED, TAG_REACHED, TAG_REFUSED_HANDOVER, TAG_REFUSED_REVISION, TAG_ROLE,
    TAG_RUNNING, TAG_TARGETS, TAG_UNREACHABLE,
};
use templates::report::{Moment, Reached, ReachedVips, Refusal, fitted};
use tokio::sync::watch;

use crate::aws::ec2::ApiError;
use crate::aws::ids::InstanceId;
use crate::aws::imds::Imds;
use crate::host::backoff::Backoff;
use crate::node::report_tags::Reports;
use crate::node::state::{Board, State};
use repair::Repair;

/// Time to collect changes: an election makes several.
const SETTLE: Duration = Duration::from_millis(200);

type Tags = BTreeMap<&'static str, String>;

/// Keeps the tags of `instance` equal to the board and to the values of `targets`, for ever. `present` are its current
/// tags.
pub async fn report(
    client: Client,
    instance: InstanceId,
    imds: Imds,
    board: Board,
    mut targets: watch::Receiver<Vec<String>>,
    present: &BTreeMap<String, String>,
) {
    let mut reported = ours(present);
    let mut reader = board.subscribe();
    let mut repair = Repair::new(imds);
    let fresh = || Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut backoff = fresh();
    loop {
        tokio::time::sleep(SETTLE).await;
        let wanted = tags(&reader.borrow_and_update(), &targets.borrow_and_update());
        let difference = difference(&reported, &wanted);
        if let Err(error) = write(&client, &instance, &difference).await {
            tracing::warn!("cannot write this node's tags, trying again: {error}");
            backoff.wait().await;
            continue;
        }
        repair.wrote(difference.keys(), Instant::now());
        (reported, backoff) = (wanted, fresh());
        tokio::select! {
            changed = reader.changed() => if changed.is_err() { return },
            changed = targets.changed() => if changed.is_err() { return },
            seen = repair.due(&reported) => reported = seen,
        }
    }
}

/// Writes them once, for `agent configure`.
pub async fn report_once(client: &Client, state: &State) -> Result<(), ApiError> {
    write(client, &state.instance, &difference(&Tags::new(), &tags(state, &[]))).await
}

/// The tags in `all` that an agent writes.
fn ours(all: &BTreeMap<String, String>) -> Tags {
    REPORTS.into_iter().filter_map(|key| Some((key, all.get(key)?.clone()))).collect()
}

/// The report tags for `state`. Only an active node reports on the `targets`.
fn tags(state: &State, targets: &[String]) -> Tags {
    let Reports { unreachable, alive, refused_handover, refused_revision, probed } = &state.reports;
    let unreachable = Some(unreachable.to_string()).filter(|value| !value.is_empty());
    let reached: Vec<Reached> = state.virtual_ips.iter().map(|vip| vip.reached).collect();
    let watched = reached.iter().any(|reached| *reached != Reached::Unknown);
    let optional = [
        (TAG_MESSAGE, state.message().map(|message| fitted(&message))),
        (TAG_UNREACHABLE, unreachable),
        (TAG_REACHED, watched.then(|| ReachedVips(reached).to_string())),
        (TAG_ALIVE, alive.as_ref().map(Moment::to_string)),
        (TAG_REFUSED_HANDOVER, refused_handover.as_ref().map(Refusal::to_string)),
        (TAG_REFUSED_REVISION, refused_revision.as_ref().map(Refusal::to_string)),
    ];
    let always = [(TAG_ROLE, state.roles().to_string()), (TAG_RUNNING, state.revision.to_string())];
    let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let targets = TAG_TARGETS.into_iter().zip(targets.iter().cloned()).filter(|_| state.is_active());
    let probed = TAG_PROBED.into_iter().zip(probed.iter().flat_map(Answer::values));
    always.into_iter().chain(optional).chain(targets).chain(probed).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    set: Vec<(&'static str, String)>,
    delete: Vec<&'static str>,
}

impl Difference {
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.set.iter().map(|(key, _)| *key).chain(self.delete.iter().copied())
    }
}

fn difference(reported: &Tags, wanted: &Tags) -> Difference {
    let set = wanted.iter().filter(|(key, value)| reported.get(*key) != Some(value));
    let delete = reported.keys().filter(|key| !wanted.contains_key(*key));
    Difference { set: set.map(|(key, value)| (*key, value.clone())).collect(), delete: delete.copied().collect() }
}

async fn write(client: &Client, instance: &InstanceId, difference: &Difference) -> Result<(), ApiError> {
    if !difference.set.is_empty() {
        let mut call = client.create_tags().resources(&instance.0);
        for (key, value) in &difference.set {
            call = call.tags(Tag::builder().key(*key).value(value).build());
        }
        call.send().await.map_err(|error| ApiError::of("CreateTags", &error))?;
    }
    if !difference.delete.is_empty() {
        let mut call = client.delete_tags().resources(&instance.0);
        for key in &difference.delete {
            call = call.tags(Tag::builder().key(*key).build());
        }
        call.send().await.map_err(|error| ApiError::of("DeleteTags", &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use templates::report::Unreachable;

    use super::*;
    use crate::node::state::Topic;
    use crate::node::state::tests::state;

    #[test]
    fn a_healthy_node_says_its_role_and_revision() {
        let expected = Tags::from([(TAG_ROLE, "standby".into()), (TAG_RUNNING, "0123456789ab".into())]);
        assert_eq!(tags(&state(), &[]), expected);
    }

    #[test]
    fn a_message_fits_a_tag() {
        let mut state = state();
        state.problems.insert(Topic::Haproxy, format!("line\n{}", "ä".repeat(300)));
        let message = &tags(&state, &[])[TAG_MESSAGE];
        assert_eq!(message.chars().count(), 255);
        assert!(message.starts_with("line ä"));
    }

    #[test]
    fn each_report_has_a_tag_and_a_restarted_agent_continues_with_it() {
        let moment: Moment = "2026-11-29T14:03:12Z".parse().unwrap();
        let mut state = state();
        state.reports = Reports {
            unreachable: Unreachable([("i-b".to_owned(), moment)].into()),
            alive: Some(moment),
            refused_handover: Some(Refusal { of: "65a1-3f".to_owned(), why: "there is no other node".to_owned() }),
            refused_revision: Some(Refusal { of: "3:0123456789ab".parse().unwrap(), why: "it is older".to_owned() }),
            probed: Answer::read(["65a1-3f@2026-11-29T14:03:12Z 10.255.0.10/db=connected"]),
        };
        state.problems.insert(Topic::Haproxy, "down".into());
        state.virtual_ips[0].reached = Reached::Yes;
        let written = tags(&state, &[]);
        let told = [
            TAG_UNREACHABLE,
            TAG_REACHED,
            TAG_ALIVE,
            TAG_REFUSED_HANDOVER,
            TAG_REFUSED_REVISION,
            TAG_PROBED[0],
            TAG_MESSAGE,
        ];
        assert_eq!(
            told.map(|key| written[key].as_str()),
            [
                "i-b@2026-11-29T14:03:12Z",
                "yes",
                "2026-11-29T14:03:12Z",
                "65a1-3f there is no other node",
                "3:0123456789ab it is older",
                "65a1-3f@2026-11-29T14:03:12Z 10.255.0.10/db=connected",
                "down"
            ]
        );
        let written = written.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(Reports::written(&written), Reports { alive: None, ..state.reports });
    }

    #[test]
    fn only_an_active_node_reports_on_the_targets() {
        let (mut state, values) = (state(), ["web=1/2".to_owned(), "+3".to_owned()]);
        assert!(!tags(&state, &values).contains_key(TAG_TARGETS[0]));
        state.virtual_ips[0].role = templates::Role::Active;
        let tags = tags(&state, &values);
        let shown = TAG_TARGETS.map(|key| tags.get(key).map(String::as_str));
        assert_eq!(shown[..3], [Some("web=1/2"), Some("+3"), None]);
    }

    #[test]
    fn only_changes_are_written_and_a_solved_problem_is_deleted() {
        let troubled =
            Tags::from([(TAG_ROLE, "fault".into()), (TAG_RUNNING, "1".into()), (TAG_MESSAGE, "down".into())]);
        let well = Tags::from([(TAG_ROLE, "standby".into()), (TAG_RUNNING, "1".into())]);
        let expected = Difference { set: vec![(TAG_ROLE, "standby".into())], delete: vec![TAG_MESSAGE] };
        assert_eq!(difference(&troubled, &well), expected);
        assert_eq!(difference(&well, &well), Difference { set: vec![], delete: vec![] });
    }
}
