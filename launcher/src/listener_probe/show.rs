//! Renders a listener probe for people, and decides the exit code.

use jiff::Timestamp;

use super::{Heard, Probed};
use crate::model::node::clock;
use crate::output::failure::Failure;
use crate::output::sanitize;
use crate::output::table::columns;

impl Probed {
    /// For people, at `now`.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        if !self.listeners.is_empty() {
            let head = ["LISTENER", "ASKED AT", "ANSWER", "TARGET", "MS", "NODE", "TIME"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(self.listeners.iter().map(|heard| row(heard, now)));
            text.push_str(&columns(&rows));
        }
        let left_out = (self.left_out > 0)
            .then(|| format!("{} more listeners aren't shown: the node's tags have no room for them", self.left_out));
        for line in self.reached.iter().chain(&left_out) {
            text.push_str(&format!("  … {}\n", sanitize::line(line)));
        }
        for line in &self.problems {
            text.push_str(&format!("  ! {}\n", sanitize::line(line)));
        }
        text
    }

    /// Fails if a client wouldn't be served. The text has shown why.
    pub fn outcome(&self) -> Result<(), Failure> {
        if self.problems.is_empty() { Ok(()) } else { Err(Failure::Degraded) }
    }
}

fn row(heard: &Heard, now: Timestamp) -> Vec<String> {
    let Heard { virtual_ip, listener, port, instance, asked, answer, status, target, ms, problem: _ } = heard;
    let target = match (target, *answer) {
        (Some(target), _) => target.as_str(),
        (None, "http") => "HAProxy itself",
        (None, "connected") => "not known",
        (None, _) => "-",
    };
    vec![
        listener.clone(),
        port.map_or_else(|| virtual_ip.to_string(), |port| format!("{virtual_ip}:{port}")),
        match (status, *answer) {
            (Some(status), _) => status.to_string(),
            (None, "taken") => "connected".to_owned(),
            (None, answer) => answer.to_owned(),
        },
        target.to_owned(),
        ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
        instance.clone(),
        clock(asked.timestamp(), now),
    ]
}
