//! Turns raw results into docs/bench.md and its plots. Pure: the same results make the same files.

mod conditions;
mod idle;
mod lost;
mod plot;
mod statistics;
mod table;
mod takeover;
mod zone;

use anyhow::{Result, ensure};

use crate::results::Results;

/// The files of the document, name and content, all in one folder.
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
    ensure!(missing.len() < 4, "nothing has been measured yet: run `make bench`");
    if !missing.is_empty() {
        text.push_str(&format!("Not measured yet: `{}`.\n\n", missing.join("`, `")));
    }
    text.push_str(&conditions::render(results));
    files.insert(0, ("bench.md".to_owned(), text.trim_end().to_owned() + "\n"));
    Ok(files)
}

/// What a section puts into the document.
struct Part {
    section: String,
    plot: Option<String>,
}

const HEAD: &str = "\
# Elbow and the others at the same work

Written by `make bench`, from what it measured; don't edit. All of it happens in the lab, a VPC in a box, where instances
boot for real and the API is moto behind a proxy that adds latency and throttling (ARCHITECTURE.md, \"The lab\"): the
figures compare ways of doing a thing under the same conditions, and are not AWS's. Times are in seconds.

";
