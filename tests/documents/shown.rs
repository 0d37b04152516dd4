//! Runs the commands that the documents show, in the lab and in their order, and compares what they print with what the
//! documents show.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed, programs};
use toml::Table;

use crate::pages::{Page, checkout, pages};

/// The documents with commands that run, in this order. The balancer that getting-started.md creates serves the next ones,
/// and operating.md removes it.
const PLAYED: [&str; 6] = [
    "README.md",
    "docs/getting-started.md",
    "docs/configuration.md",
    "docs/permissions.md",
    "docs/operating.md",
    "tests/lab/README.md",
];

/// Commands in blocks that don't run here: the document, how the command begins, and why.
const NOT_RUN: [(&str, &str, &str); 11] = [
    ("README.md", "make demo", "it builds first; tests/demo.sh, which it calls, runs here"),
    ("README.md", "make test", "it runs this test"),
    ("README.md", "launcher create balancer.toml", "tests/demo.sh runs it"),
    ("README.md", "lab kill active", "tests/demo.sh runs it"),
    ("CONTRIBUTING.md", "sudo target/release/lab", "tests/lab/README.md has the command without sudo"),
    ("CONTRIBUTING.md", "eval", "tests/lab/README.md has the command without sudo"),
    ("docs/auto-scaling.md", "", "tests/end_to_end/auto_scaling.rs runs all but the change"),
    ("docs/aws-evidence.md", "make prove-on-aws", "it needs AWS; tests/end_to_end/prove.rs runs the program"),
    ("docs/aws-evidence.md", "target/release/prove", "it needs AWS; tests/end_to_end/prove.rs runs the program"),
    ("docs/operating.md", "echo", "a node of the lab has no socat; tests/faults/targets_under_load.rs sends this line"),
    ("docs/permissions.md", "aws", "the role is the operator's; tests/launcher_api/operator_policy.rs uses the policy"),
];

fn is_listed(page: &str, command: &str) -> bool {
    NOT_RUN.iter().any(|&(name, begin, _)| name == page && command.starts_with(begin))
}

#[test]
fn every_shown_command_runs_here_or_is_listed() {
    for page in pages().iter().filter(|page| !PLAYED.contains(&page.name.as_str())) {
        for step in page.steps() {
            let command = &step.command;
            assert!(is_listed(&page.name, command), "{}: `{command}`: add it to PLAYED or NOT_RUN", page.name);
        }
    }
    for (name, begin, _) in NOT_RUN {
        let is_shown = Page::read(name).steps().iter().any(|step| step.command.starts_with(begin));
        assert!(is_shown, "{name} doesn't show `{begin}` any more: remove it from NOT_RUN");
    }
}

#[test]
fn what_the_documents_show_works_in_the_lab() -> Result<()> {
    let rig = Rig::up()?;
    demonstrate(&rig)?;
    // The demonstration has stopped the lab. A machine has one lab.
    drop(rig);
    let rig = Rig::up()?;
    let folder = tempfile::tempdir()?;
    for name in PLAYED {
        play(&rig, folder.path(), &Page::read(name)).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// README.md shows a part of what `make demo` prints.
fn demonstrate(rig: &Rig) -> Result<()> {
    let page = Page::read("README.md");
    let steps = page.steps().into_iter().filter(|step| is_listed(&page.name, &step.command));
    let shown: Vec<String> = steps.flat_map(|step| step.shown).collect();
    ensure!(!shown.is_empty(), "README.md shows no output of make demo");
    let said = run(rig, &checkout(), "tests/demo.sh")?;
    compare(&shown, &said)
}

fn play(rig: &Rig, folder: &Path, page: &Page) -> Result<()> {
    let file = folder.join("web.toml");
    match page.name.as_str() {
        "README.md" => {
            let block = page.blocks().into_iter().find(|block| block.language == "toml").context("no balancer file")?;
            fill(rig, &file, &block.lines.join("\n"), &["vpc", "subnets", "image"])?;
        }
        // README's balancer has left its bucket. A newcomer has none.
        "docs/getting-started.md" => drop(run(rig, folder, "launcher bucket --delete --yes")?),
        // "Edit the file, then:"
        "docs/operating.md" => {
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, text + "\n[failover]\ndrain_timeout = \"30s\"\n")?;
        }
        _ => {}
    }
    let steps = page.steps().into_iter().filter(|step| !is_listed(&page.name, &step.command));
    for step in steps {
        let said = run(rig, folder, &step.command)?;
        compare(&step.shown, &said).with_context(|| format!("`{}`", step.command))?;
        if step.command.starts_with("launcher init") {
            fill(rig, &file, &std::fs::read_to_string(&file)?, &["image"])?;
        }
    }
    Ok(())
}

/// Writes a balancer file with the lab's values for these keys.
fn fill(rig: &Rig, file: &Path, text: &str, keys: &[&str]) -> Result<()> {
    let lab: Table = rig.lab(["example"])?.parse()?;
    let mut balancer: Table = text.parse()?;
    for key in keys {
        let value = lab.get(*key).with_context(|| format!("the lab's example has no {key}"))?;
        balancer.insert((*key).to_owned(), value.clone());
    }
    std::fs::write(file, balancer.to_string()).context("writing the balancer file")
}

/// Runs a command line, which must succeed, as a person would: `curl` on a machine in the VPC, and `destroy` with a yes.
/// Returns all that it printed.
fn run(rig: &Rig, folder: &Path, command: &str) -> Result<String> {
    let line = match command {
        curl if curl.starts_with("curl ") => format!("lab client {curl}"),
        destroy if destroy.starts_with("launcher destroy ") && !destroy.contains("--dry-run") => {
            format!("{destroy} --yes")
        }
        other => other.to_owned(),
    };
    let path = format!("{}:{}", programs()?.display(), rig.variable("PATH")?);
    let mut bash = rig.command("/bin/bash");
    bash.args(["-euo", "pipefail", "-c", &format!("exec 2>&1; {line}")]);
    let output = bash.current_dir(folder).env("PATH", path).stdin(Stdio::null()).output().context("running bash")?;
    printed(&output).with_context(|| format!("running `{line}`"))
}

/// Fails if no line of the output has the words of a shown line. Words with digits and `…` differ from run to run.
fn compare(shown: &[String], said: &str) -> Result<()> {
    let is_fixed = |word: &&str| !word.contains(|c: char| c == '…' || c.is_ascii_digit());
    for line in shown {
        let has_words = |there: &str| {
            let mut words = there.split_whitespace();
            line.split_whitespace().filter(is_fixed).all(|word| words.any(|other| other == word))
        };
        ensure!(said.lines().any(has_words), "a document shows {line:?}, and this was printed:\n{said}");
    }
    Ok(())
}

#[test]
fn words_that_are_not_printed_are_found() {
    let shown = ["  ✓ launch node 1 in subnet-0bbb", "  …"].map(str::to_owned);
    assert!(compare(&shown, "x\n  ✓ launch node 1 in subnet-0123\n").is_ok());
    for said in ["", "  ✓ launch node 1\n", "in node launch ✓\n", "  ✓ launch node\n  … in\n"] {
        assert!(compare(&shown, said).is_err(), "{said}");
    }
}
