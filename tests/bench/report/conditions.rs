//! The last section: the machine, its load, and the time that each section took.

use super::table;
use crate::results::{Build, Conditions, Results};

/// The section on the machine, with a row for each section's conditions.
pub fn render(results: &Results) -> String {
    let sections = sections(results);
    let Some((_, machine)) = sections.first() else { return String::new() };
    let rows = sections.iter().map(|(name, conditions)| {
        let build = match conditions.agent {
            Build::Dist => "shipped",
            Build::Release => "tests'",
        };
        let quick = if conditions.quick { ", a test run with few repetitions" } else { "" };
        [
            format!("`{name}`{quick}"),
            format!("{:.0} min", (conditions.seconds / 60.0).max(1.0)),
            format!("{:.2}", conditions.load),
            build.to_owned(),
        ]
    });
    format!(
        "## The machine\n\n{} cores ({}), {} GB, Linux {}. It runs the instances, the router, the API and the client.\n\n{}",
        machine.cores,
        machine.processor,
        machine.memory_gb,
        machine.kernel,
        table::markdown(&["section", "took", "load average before", "agent's build"], rows)
    )
}

fn sections(results: &Results) -> Vec<(String, &Conditions)> {
    let takeover = results.takeover.iter().map(|m| (format!("takeover-{}", m.data.latency_ms), &m.conditions));
    let lost = results.lost.iter().map(|m| ("lost".to_owned(), &m.conditions));
    let zone = results.zone.iter().map(|m| ("zone".to_owned(), &m.conditions));
    let idle = results.idle.iter().map(|m| ("idle".to_owned(), &m.conditions));
    let data_plane = results.data_plane.iter().map(|m| ("data-plane".to_owned(), &m.conditions));
    takeover.chain(lost).chain(zone).chain(idle).chain(data_plane).collect()
}
