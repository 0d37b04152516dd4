//! Writes results to standard output, as text or JSON, and progress and errors to standard error. All of it passes
//! through [`clean`].

pub mod failure;
pub mod located;
pub mod progress;
pub mod sanitize;
pub mod table;

use std::io::{ErrorKind, Write};

use anstream::eprintln;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::output::failure::Failure;
use crate::output::located::Located;

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// One JSON document, see docs/output.md.
    Json,
}

/// Writes a result: its JSON, or the text for people.
pub fn result(output: Output, document: &impl Serialize, text: &str) -> Result<(), Failure> {
    match output {
        Output::Text => print(text),
        Output::Json => print_json(document),
    }
}

/// Writes a text for people to standard output, with one newline at its end.
pub fn print(text: &str) -> Result<(), Failure> {
    print_painted(text, str::to_owned)
}

/// Like [`print`], with colours that `paint` adds after cleaning.
pub fn print_painted(text: &str, paint: impl Fn(&str) -> String) -> Result<(), Failure> {
    write(format!("{}\n", paint(&sanitize::lines(text)).trim_end_matches('\n')).as_bytes())
}

fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let document = serde_json::to_string_pretty(document).expect("results have only string keys");
    write(format!("{}\n", sanitize::json(&document)).as_bytes())
}

/// Writes a rendered file unchanged, with one newline at its end.
pub fn file(text: &str) -> Result<(), Failure> {
    write(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

/// Writes to standard output. A closed pipe (`| head`) is no error; a full disk is one.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(anyhow::Error::new(error).context("writing to standard output")))
        }
        _ => Ok(()),
    }
}

/// Writes a warning to standard error.
pub fn warn(line: &str) {
    say(&format!("launcher: warning: {line}"));
}

/// Writes a warning about a file to standard error, with its place.
pub fn warn_of(problem: &Located) {
    say_located("launcher: warning: ", problem);
}

fn say_located(start: &str, problem: &Located) {
    say(&format!("{start}{}", problem.line));
    problem.place.iter().for_each(|line| say(line));
}

/// Writes a line to standard error.
pub fn say(line: &str) {
    eprintln!("{}", sanitize::line(line));
}

/// Asks for a line, at a terminal.
pub fn ask(question: &str) -> std::io::Result<()> {
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "{}", sanitize::line(question))?;
    terminal.flush()
}

/// Writes a failure's lines to standard error and, for [`Output::Json`], a document to standard output.
pub fn failed(output: Output, failure: &Failure) {
    let lines = failure.lines();
    match failure {
        Failure::BadFile(problems) => problems.iter().for_each(|problem| say_located("launcher: ", problem)),
        _ => lines.iter().for_each(|line| say(&format!("launcher: {line}"))),
    }
    if output == Output::Json && !lines.is_empty() {
        let outcome = match failure {
            Failure::BadInput(_) | Failure::BadFile(_) => "refused",
            Failure::Failed(_) | Failure::Unfinished(_) | Failure::Degraded => "failed",
            Failure::Interrupted => "interrupted",
        };
        let document = json!({"outcome": outcome, "problems": lines});
        // Standard error has the failure already.
        drop(print_json(&document));
    }
}
