//! What the node says about itself in its own tags: the launcher reads them there. A tag is written when it changes,
//! and not otherwise; changes that come together are written together.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Tag;
use templates::names::{TAG_CLAIM, TAG_MESSAGE, TAG_ROLE, TAG_RUNNING};

use crate::backoff::Backoff;
use crate::ec2::ApiError;
use crate::ids::InstanceId;
use crate::state::{Board, State};

/// An election changes several things within moments.
const SETTLE: Duration = Duration::from_millis(200);
/// EC2's limit for a tag's value, in characters (EC2 User Guide, "Tag restrictions").
const LONGEST: usize = 255;

type Tags = BTreeMap<&'static str, String>;

/// Keeps the tags of `instance` as the board is, for ever. `present` are the tags it has now.
pub async fn report(client: Client, instance: InstanceId, board: Board, present: &BTreeMap<String, String>) {
    let mut reported: Tags = [TAG_CLAIM, TAG_ROLE, TAG_RUNNING, TAG_MESSAGE]
        .into_iter()
        .filter_map(|key| Some((key, present.get(key)?.clone())))
        .collect();
    let mut reader = board.subscribe();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        tokio::time::sleep(SETTLE).await;
        let wanted = tags(&reader.borrow_and_update());
        match write(&client, &instance, &difference(&reported, &wanted)).await {
            Ok(()) => {
                reported = wanted;
                backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
                if reader.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("cannot write this node's tags, trying again: {error}");
                backoff.wait().await;
            }
        }
    }
}

/// Writes them once, for `agent configure`.
pub async fn report_once(client: &Client, state: &State) -> Result<(), ApiError> {
    write(client, &state.instance, &difference(&Tags::new(), &tags(state))).await
}

/// The tags that say what `state` is.
fn tags(state: &State) -> Tags {
    let mut tags = Tags::from([
        (TAG_CLAIM, state.slot.to_string()),
        (TAG_ROLE, state.roles().to_string()),
        (TAG_RUNNING, state.revision.to_string()),
    ]);
    if let Some(message) = state.message() {
        tags.insert(TAG_MESSAGE, message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect());
    }
    tags
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    set: Vec<(&'static str, String)>,
    delete: Vec<&'static str>,
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
    use super::*;
    use crate::state::Topic;
    use crate::state::tests::state;

    #[test]
    fn a_healthy_node_says_slot_role_and_revision() {
        let expected =
            Tags::from([(TAG_CLAIM, "1".into()), (TAG_ROLE, "standby".into()), (TAG_RUNNING, "0123456789ab".into())]);
        assert_eq!(tags(&state()), expected);
    }

    #[test]
    fn a_message_fits_a_tag() {
        let mut state = state();
        state.problems.insert(Topic::Haproxy, format!("line\n{}", "ä".repeat(300)));
        let message = &tags(&state)[TAG_MESSAGE];
        assert_eq!(message.chars().count(), 255);
        assert!(message.starts_with("line ä"));
    }

    #[test]
    fn only_what_changed_is_written_and_a_solved_problem_is_taken_back() {
        let troubled = Tags::from([(TAG_ROLE, "fault".into()), (TAG_CLAIM, "1".into()), (TAG_MESSAGE, "down".into())]);
        let well = Tags::from([(TAG_ROLE, "standby".into()), (TAG_CLAIM, "1".into())]);
        let expected = Difference { set: vec![(TAG_ROLE, "standby".into())], delete: vec![TAG_MESSAGE] };
        assert_eq!(difference(&troubled, &well), expected);
        assert_eq!(difference(&well, &well), Difference { set: vec![], delete: vec![] });
    }
}
