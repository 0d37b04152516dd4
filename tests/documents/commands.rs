//! Each command in a document exists, with its subcommand and its flags.

use std::process::Command;

use clap::Parser;
use clap::error::ErrorKind;
use lab::rig::programs;

use crate::pages::{checkout, pages, simple, spans};

const OURS: [&str; 5] = ["agent", "lab", "launcher", "make", "prove"];
/// Programs and words of the shell that blocks may begin a command with.
const OTHERS: [&str; 8] = ["aws", "curl", "done", "echo", "for", "jq", "sleep", "socat"];
/// Running text may leave arguments out.
const LEFT_OUT: [ErrorKind; 2] =
    [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];

#[test]
fn every_command_in_a_document_exists() {
    let mut seen = 0;
    // The changelog tells the past.
    for page in pages().into_iter().filter(|page| page.name != "CHANGELOG.md") {
        let prose = page.prose();
        let shown = page.steps().into_iter().flat_map(|step| simple(&step.command));
        let shown = shown.map(|words| (words, &[] as &[ErrorKind]));
        let told = spans(&prose).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
        let told = told.flat_map(|span| simple(&span));
        let told = told.filter(|words| words.len() > 1 && OURS.contains(&program(words)));
        for (words, left_out) in shown.chain(told.map(|words| (words, &LEFT_OUT as &[ErrorKind]))) {
            check(&words, left_out).unwrap_or_else(|why| panic!("{}: `{}`: {why}", page.name, words.join(" ")));
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} commands were found");
}

fn program(words: &[String]) -> &str {
    words[0].rsplit('/').next().unwrap_or_default()
}

fn check(words: &[String], left_out: &[ErrorKind]) -> Result<(), String> {
    let filled: Vec<&str> = words.iter().map(|word| example(word)).collect();
    let parsed = match program(words) {
        "launcher" => launcher::cli::Cli::try_parse_from(filled).map(drop),
        "lab" => lab::cli::Cli::try_parse_from(filled).map(drop),
        "make" => return make(&words[1..]),
        ours @ ("agent" | "prove") => return ask(ours, &words[1..]),
        other if OTHERS.contains(&other) => return Ok(()),
        other => return Err(format!("{other} is no program that documents use")),
    };
    match parsed {
        Err(error) if error.kind() != ErrorKind::DisplayHelp && !left_out.contains(&error.kind()) => {
            Err(error.to_string())
        }
        _ => Ok(()),
    }
}

/// A value for a placeholder.
fn example(word: &str) -> &str {
    match word {
        "$group" => "sg-0a1b2c3d",
        "SLOT" | "MS" => "0",
        "INSTANCE" => "i-0a1b2c3d",
        word => word,
    }
}

/// Fails if the Makefile lacks the target or the variable, or if `prove` lacks a flag in the variable.
fn make(words: &[String]) -> Result<(), String> {
    let makefile = std::fs::read_to_string(checkout().join("Makefile")).unwrap();
    for word in words.iter().take_while(|word| !word.contains('\'')) {
        let is_there = match word.split_once('=') {
            Some((variable, _)) => makefile.contains(&format!("$({variable})")),
            None => makefile.lines().any(|line| line.starts_with(&format!("{word}:"))),
        };
        if !is_there {
            return Err(format!("the Makefile has no {word}"));
        }
    }
    let flags = words.iter().map(|word| word.trim_start_matches("PROVE='").to_owned());
    ask("prove", &flags.filter(|word| word.starts_with("--")).collect::<Vec<_>>())
}

/// Fails if the program's help lacks the subcommand or a flag.
fn ask(program: &str, words: &[String]) -> Result<(), String> {
    let subcommand = words.first().filter(|word| !word.starts_with('-'));
    let help = help(program, subcommand)?;
    let known: Vec<&str> = help.split(|c: char| c.is_whitespace() || ",[]".contains(c)).collect();
    match words.iter().find(|word| word.starts_with("--") && !known.contains(&word.as_str())) {
        Some(word) => Err(format!("{program} has no {word}")),
        None => Ok(()),
    }
}

/// What the program prints for `--help`.
pub fn help(program: &str, subcommand: Option<&String>) -> Result<String, String> {
    let program = programs().unwrap().join(program);
    let output = Command::new(program).args(subcommand).arg("--help").output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn a_wrong_command_is_found() {
    for right in ["launcher update", "lab --help", "sudo target/release/lab up", "make chaos SEED=7", "agent status"] {
        assert_eq!(check(&simple(right)[0], &LEFT_OUT), Ok(()), "{right}");
    }
    assert!(check(&simple("launcher update")[0], &[]).is_err());
    for wrong in [
        "launcher creat web.toml",
        "launcher status web --strickt",
        "launchr list",
        "lab kil active",
        "make tset",
        "make chaos SEDE=7",
        "make prove-on-aws PROVE='--cleen x'",
        "target/release/prove --cleen x",
        "agent statsu",
        "agent check --agnet",
    ] {
        assert!(check(&simple(wrong)[0], &LEFT_OUT).is_err(), "{wrong}");
    }
}
