//! `make bench`: Elbow and the other ways to do it at the same work, in one run on one machine. Each section leaves its raw
//! results in `target/lab/bench`, and docs/bench.md with its plots is rendered from what is there.

mod arena;
mod elbow;
mod floor;
mod image;
mod others;
#[allow(
    dead_code,
    unused_imports,
    reason = "Cargo sets `test` here too and leaves the tests out: report_test.rs has them"
)]
mod report;
mod results;
mod sections;

use std::time::Instant;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use lab::dir::{self, LabDir};
use serde::Serialize;

use arena::{Arena, results_folder, say};
use results::{LATENCIES, Results, save};
use sections::{idle, lost, takeover, zone};

/// Measures Elbow and others at the same work, and writes docs/bench.md. Wants root, and `make setup` before.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure; nothing named: everything
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Few repetitions, short watches: to try the benchmark itself
    #[arg(long)]
    quick: bool,
    /// Build the image that everything is measured in, and no more
    #[arg(long, conflicts_with_all = ["render", "quick", "sections"])]
    prepare: bool,
    /// Measure nothing: render the document from the results that are there
    #[arg(long)]
    render: bool,
    /// What Cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Takeovers of 1 to 200 route tables, at all latencies
    Takeover,
    /// The same at one latency
    #[value(name = "takeover-0")]
    Takeover0,
    /// The same at one latency
    #[value(name = "takeover-50")]
    Takeover50,
    /// The same at one latency
    #[value(name = "takeover-200")]
    Takeover200,
    /// A node lost, served again
    Lost,
    /// Ten balancers lose a zone
    Zone,
    /// Ten minutes of nothing
    Idle,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.prepare {
        return Arena::open(false).map(drop);
    }
    if !cli.render {
        let start = Instant::now();
        let arena = Arena::open(cli.quick)?;
        let all = [Section::Takeover, Section::Lost, Section::Zone, Section::Idle];
        let sections = if cli.sections.is_empty() { all.to_vec() } else { cli.sections };
        for section in sections {
            section.run(&arena)?;
        }
        say(format!("measured within {:.0} min", start.elapsed().as_secs_f64() / 60.0));
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
