//! Asks for consent before something is removed.

use std::io::{BufRead, IsTerminal};

use crate::output;
use crate::output::failure::Failure;

/// Asks at the terminal until Enter, and refuses any answer but `word`. `what` is the command that needs consent.
pub async fn consent(what: &str, question: &str, word: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::bad_input(format!("{what}: no terminal to ask for confirmation; use --yes")));
    }
    drop(output::ask(&format!("{question} Type its name: ")));
    // On a thread of its own, so that a signal can interrupt the prompt.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    match answer.await {
        Ok(Ok(answer)) if answer.trim() == word => Ok(()),
        _ => Err(Failure::bad_input("not confirmed; nothing was removed")),
    }
}
