//! Shows progress on standard error: live lines at a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::sanitize;

/// The live lines, and how to show them.
#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
    live: RefCell<BTreeMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    text: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// At a terminal live lines are redrawn in place; elsewhere each change of one is a line.
    pub fn new() -> Progress {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Progress { bars, live: RefCell::default() }
    }

    /// Reports a finished action.
    pub fn done(&self, what: &str) {
        self.say(&format!("  ✓ {what}"));
    }

    /// Writes a line that stays.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // A failure to draw is no reason to fail.
            Some(bars) => drop(bars.println(sanitize::line(line))),
            None => super::say(line),
        }
    }

    /// Replaces the live line of `who`.
    pub fn live(&self, who: &str, text: &str) {
        let mut live = self.live.borrow_mut();
        if live.get(who).is_some_and(|line| line.text == text) {
            return;
        }
        let bar = live.remove(who).and_then(|line| line.bar).or_else(|| self.bars.as_ref().map(spinner));
        match &bar {
            Some(bar) => bar.set_message(sanitize::line(&format!("{who}: {text}"))),
            None => super::say(&format!("  … {who}: {text}")),
        }
        live.insert(who.to_owned(), Line { text: text.to_owned(), bar });
    }

    /// Removes the live lines.
    pub fn clear(&self) {
        for line in std::mem::take(&mut *self.live.borrow_mut()).into_values() {
            if let Some(bar) = line.bar {
                bar.finish_and_clear();
            }
        }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn spinner(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    let style = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}").expect("the template is valid");
    bar.set_style(style.tick_strings(&["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "✓"]));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
