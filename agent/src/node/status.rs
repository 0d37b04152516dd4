//! `agent status`: prints the state that the running agent writes to a file.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anstream::print;
use anyhow::Context;
use templates::paths;

use crate::haproxy::Serves;
use crate::host::files;
use crate::node::state::{Board, State};

/// Pause after a failed write.
const AGAIN: Duration = Duration::from_secs(1);

fn path() -> std::path::PathBuf {
    Path::new(paths::RUN).join("state.json")
}

/// Writes the board to the file whenever it changes, for ever.
pub async fn write_down(board: Board) {
    let mut reader = board.subscribe();
    let mut failing = false;
    loop {
        let text = serde_json::to_string_pretty(&*reader.borrow_and_update()).map(|text| text + "\n");
        let text = text.expect("a state serializes to JSON");
        let written = files::write_aside(&path(), text).await;
        if let (Err(error), false) = (&written, failing) {
            tracing::warn!("cannot write the file of `agent status`, which is out of date until then: {error:#}");
        }
        failing = written.is_err();
        let ended = tokio::select! {
            changed = reader.changed() => changed.is_err(),
            () = tokio::time::sleep(AGAIN), if failing => false,
        };
        if ended {
            return;
        }
    }
}

/// Prints the file, as JSON or for people.
pub fn command(json: bool) -> anyhow::Result<()> {
    let path = path();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading {}: is elbow-agent.service running?", path.display()))?;
    let state: State = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    print!("{}", if json { text } else { describe(&state) });
    Ok(())
}

fn describe(state: &State) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<13} {value}").expect("writing to memory");
    line("balancer", &format!("{}, revision {}", state.balancer, state.revision));
    line("node", &format!("{}, slot {}, {} in {}", state.instance, state.slot, state.address, state.zone));
    for vip in &state.virtual_ips {
        line(&vip.address.to_string(), &vip.role.to_string());
    }
    line("haproxy", if state.haproxy == Serves::Yes { "answers" } else { "down" });
    line("peers", &list(state.peers.iter()));
    line("route tables", &list(state.route_tables.iter()));
    if let Some(why) = &state.leaving {
        line("leaving", why);
    }
    for problem in state.problems.values() {
        line("problem", problem);
    }
    text
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::state::Topic;
    use crate::node::state::tests::state;

    #[test]
    fn the_state_is_printed_in_lines() {
        let mut state = state();
        state.peers.clear();
        state.problems.insert(Topic::Members, "DescribeInstances: denied".into());
        let expected = "\
balancer      web, revision 0123456789ab
node          i-a, slot 1, 10.0.1.10 in eu-west-1a
10.255.0.10   standby
haproxy       answers
peers         none
route tables  rtb-1
problem       DescribeInstances: denied
";
        assert_eq!(describe(&state), expected);
    }
}
