//! `make bench`: measures Elbow and other tools at the same work, in one run on one machine. Each section saves its raw
//! results in `target/lab/bench`; docs/bench.md and its plots are rendered from them.

mod arena;
mod client;
mod elbow;
#[allow(dead_code, unused_imports, reason = "as for `report`")]
mod figures;
mod floor;
mod image;
mod others;
mod proxies;
#[allow(
    dead_code,
    unused_imports,
    reason = "Cargo sets `test` here, too, but doesn't run the tests: report_test.rs runs them"
)]
mod report;
mod results;
mod sections;
mod usage;

use std::time::Instant;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use lab::dir::{self, LabDir};
use serde::Serialize;

use arena::{Arena, results_folder, say};
use results::{LATENCIES, Results, save};
use sections::{data_plane, idle, lost, takeover, zone};

/// Measures Elbow and other tools at the same work, and writes docs/bench.md. Needs root, and `make setup` before.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    /// The sections to measure; all by default
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Measure briefly with few repetitions, to test the benchmark itself
    #[arg(long)]
    quick: bool,
    /// Only build the benchmark's image
    #[arg(long, conflicts_with_all = ["render", "quick", "sections"])]
    prepare: bool,
    /// Only render the document from the saved results
    #[arg(long)]
    render: bool,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Takeovers of 1 to 200 route tables, at all latencies
    Takeover,
    /// The same at 0 ms
    #[value(name = "takeover-0")]
    Takeover0,
    /// The same at 50 ms
    #[value(name = "takeover-50")]
    Takeover50,
    /// The same at 200 ms
    #[value(name = "takeover-200")]
    Takeover200,
    /// Outages after a node's power cut
    Lost,
    /// Ten balancers lose a zone
    Zone,
    /// The cost of an idle pair in ten minutes
    Idle,
    /// Requests a second and latencies through HAProxy
    DataPlane,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.prepare {
        return Arena::open(false).map(drop);
    }
    if !cli.render {
        let start = Instant::now();
        let arena = Arena::open(cli.quick)?;
        let all = [Section::Takeover, Section::Lost, Section::Zone, Section::Idle, Section::DataPlane];
        let sections = if cli.sections.is_empty() { all.to_vec() } else { cli.sections };
        for section in sections {
            section.run(&arena)?;
        }
        say(format!("measured in {:.0} min", start.elapsed().as_secs_f64() / 60.0));
    }
    let results = Results::read(&results_folder(&LabDir::open()?)?)?;
    let docs = dir::checkout()?.join("docs");
    for (name, content) in report::render(&results)? {
        let path = docs.join(name);
        std::fs::write(&path, content)?;
        say(format!("wrote {}", path.display()));
    }
    Ok(())
}

impl Section {
    fn run(self, arena: &Arena) -> Result<()> {
        match self {
            Section::Takeover => LATENCIES.into_iter().try_for_each(|ms| takeovers(arena, ms)),
            Section::Takeover0 => takeovers(arena, 0),
            Section::Takeover50 => takeovers(arena, 50),
            Section::Takeover200 => takeovers(arena, 200),
            Section::Lost => measured(arena, "lost", || lost::run(arena)),
            Section::Zone => measured(arena, "zone", || zone::run(arena)),
            Section::Idle => measured(arena, "idle", || idle::run(arena)),
            Section::DataPlane => measured(arena, "data-plane", || data_plane::run(arena)),
        }
    }
}

fn takeovers(arena: &Arena, latency_ms: u64) -> Result<()> {
    measured(arena, &format!("takeover-{latency_ms}"), || takeover::run(arena, latency_ms))
}

fn measured<T: Serialize>(arena: &Arena, name: &str, section: impl FnOnce() -> Result<T>) -> Result<()> {
    say(format!("{name} …"));
    let measured = arena.measure(section)?;
    save(arena.place(), name, &measured)?;
    say(format!("{name} took {:.0} s", measured.conditions.seconds));
    Ok(())
}
