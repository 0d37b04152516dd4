//! Renders docs/bench.md and its plots from raw results. Pure: the same results give the same files.

mod conditions;
mod data_plane;
mod idle;
mod lost;
mod plot;
mod statistics;
mod table;
mod takeover;
mod zone;

use anyhow::{Result, ensure};

use crate::results::Results;

/// The document's files: names and contents.
pub fn render(results: &Results) -> Result<Vec<(String, String)>> {
    let mut text = String::from(HEAD);
    let mut files = Vec::new();
    let mut missing = Vec::new();
    let mut part = |name: &'static str, rendered: Result<Option<Part>>| -> Result<()> {
        match rendered? {
            Some(Part { section, plot }) => {
                text.push_str(&section);
                files.extend(plot.map(|svg| (format!("bench-{name}.svg"), svg)));
            }
            None => missing.push(name),
        }
        Ok(())
    };
    part("takeover", takeover::render(&results.takeover))?;
    part("lost", results.lost.as_ref().map(lost::render).transpose())?;
    part("zone", results.zone.as_ref().map(zone::render).transpose())?;
    part("idle", results.idle.as_ref().map(idle::render).transpose())?;
    part("data-plane", results.data_plane.as_ref().map(data_plane::render).transpose())?;
    ensure!(missing.len() < 5, "nothing has been measured yet: run `make bench`");
    if !missing.is_empty() {
        text.push_str(&format!("Not measured yet: `{}`.\n\n", missing.join("`, `")));
    }
    text.push_str(&conditions::render(results));
    files.insert(0, ("bench.md".to_owned(), text.trim_end().to_owned() + "\n"));
    Ok(files)
}

/// One section of the document.
struct Part {
    section: String,
    plot: Option<String>,
}

const HEAD: &str = "\
# Benchmarks: Elbow and other tools at the same work

Written by `make bench` from its measurements; don't edit. Everything runs in the lab, a VPC on one machine: the instances
really boot, and the API is moto behind a proxy that adds latency and throttling (ARCHITECTURE.md, \"The lab\"). The
figures compare tools under the same conditions; they aren't AWS's figures. Times are in seconds.

";
