//! Records each call in memory, for `lab calls`, and in a file that outlives the lab.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use tracing::warn;

use super::call::Call;

/// The calls since the record was last cleared.
#[derive(Debug, Default)]
pub struct Record {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    calls: Vec<Call>,
    file: Option<File>,
}

impl Record {
    /// A record in memory only.
    pub fn in_memory() -> Record {
        Record::default()
    }

    /// A record in memory that also appends each answered call to this file.
    pub fn with_file(path: &Path) -> Result<Record> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {} to record calls", path.display()))?;
        Ok(Record { kept: Mutex::new(Kept { calls: Vec::new(), file: Some(file) }) })
    }

    /// Adds a call.
    pub fn add(&self, call: &Call) {
        let mut kept = self.kept();
        if let (Some(file), Ok(mut line)) = (&mut kept.file, serde_json::to_vec(call)) {
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                warn!(%error, "could not write a call to the record's file");
            }
        }
        kept.calls.push(call.clone());
    }

    /// The calls so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        in_order(self.kept().calls.clone())
    }

    /// The calls so far, in order of arrival. Clears the memory but not the file.
    pub fn take(&self) -> Vec<Call> {
        in_order(std::mem::take(&mut self.kept().calls))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn in_order(mut calls: Vec<Call>) -> Vec<Call> {
    calls.sort_by_key(|call| call.time);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Caller;

    fn call(action: &str, second: i64) -> Call {
        Call {
            time: jiff::Timestamp::from_second(second).unwrap(),
            duration_ms: 1.0,
            service: "ec2".into(),
            action: action.into(),
            caller: Caller::Other,
            status: 200,
            error: None,
            request: serde_json::json!({}),
        }
    }

    #[test]
    fn calls_are_shown_as_they_came_and_the_file_keeps_what_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let record = Record::with_file(&path).unwrap();
        record.add(&call("Later", 20));
        record.add(&call("Earlier", 10));
        let actions = |calls: Vec<Call>| calls.into_iter().map(|call| call.action).collect::<Vec<_>>();
        assert_eq!(actions(record.calls()), ["Earlier", "Later"]);
        assert_eq!(actions(record.take()), ["Earlier", "Later"]);
        assert_eq!(record.calls(), []);
        let lines = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Call> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(actions(read), ["Later", "Earlier"]);
    }
}
