//! Runs the commands that the documents show, in the lab and in their order, and compares what they print with what the
//! documents show.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use lab::rig::{Rig, printed, programs};

use crate::pages::{Page, Step, checkout, pages};

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
    let steps = Page::read("README.md").steps().into_iter();
    let (demo, newcomer): (Vec<Step>, Vec<Step>) = steps.partition(|step| is_listed("README.md", &step.command));
    // README.md shows a part of what each prints.
    print_what_is_shown("tests/demo.sh", &demo)?;
    print_what_is_shown("tests/newcomer.sh", &newcomer)?;
    let folder = tempfile::tempdir()?;
    // README.md and getting-started.md show an account's first balancer, which makes the bucket: each has a lab.
    let (readme, others) = PLAYED.split_at(1);
    for names in [readme, others] {
        let rig = Rig::up()?;
        for name in names {
            play(&rig, folder.path(), &Page::read(name)).with_context(|| (*name).to_owned())?;
        }
    }
    Ok(())
}

/// Runs a script in a fresh lab, which it stops: a machine has one lab.
fn print_what_is_shown(script: &str, steps: &[Step]) -> Result<()> {
    let shown: Vec<String> = steps.iter().flat_map(|step| step.shown.clone()).collect();
    ensure!(!shown.is_empty(), "README.md shows no output of {script}");
    let said = run(&Rig::up()?, &checkout(), script)?;
    compare(&shown, &said).with_context(|| script.to_owned())
}

fn play(rig: &Rig, folder: &Path, page: &Page) -> Result<()> {
    let file = folder.join("web.toml");
    // "Edit the file, then:"
    if page.name == "docs/operating.md" {
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text + "\n[failover]\ndrain_timeout = \"30s\"\n")?;
    }
    let steps = page.steps().into_iter().filter(|step| !is_listed(&page.name, &step.command));
    for step in steps {
        let said = run(rig, folder, &step.command)?;
        compare(&step.shown, &said).with_context(|| format!("`{}`", step.command))?;
    }
    Ok(())
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
