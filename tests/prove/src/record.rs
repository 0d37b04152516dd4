//! The answers as JSON and as a Markdown table, and the files with them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::findings::Findings;
use crate::remains::Thing;
use crate::rows::{ROWS, Row};

/// A run's outcome.
pub struct Record {
    pub run: String,
    pub region: String,
    /// The address that was asked instead of AWS's own.
    pub endpoint: Option<String>,
    pub started: jiff::Timestamp,
    /// How the experiments ended, if early.
    pub ended: Option<String>,
    pub findings: Findings,
    /// What is left; none before the clean-up has ended.
    pub left: Option<Vec<Thing>>,
}

impl Record {
    /// The answer of a row, or why its cell is empty.
    pub fn cell(&self, row: &Row) -> Result<String, String> {
        let answer = (row.answer)(&self.findings)?;
        match &self.endpoint {
            Some(_) if row.is_figure => Err("measured, but not on AWS".to_owned()),
            _ => Ok(answer),
        }
    }

    /// All answers, the raw findings and what is left.
    pub fn json(&self) -> Value {
        let rows = ROWS.iter().map(|row| {
            let (answer, empty) = match self.cell(row) {
                Ok(answer) => (Some(answer), None),
                Err(reason) => (None, Some(reason)),
            };
            json!({ "id": row.id, "question": row.question, "answer": answer, "empty_because": empty })
        });
        let left = self.left.as_ref().map(|left| left.iter().map(ToString::to_string).collect::<Vec<_>>());
        json!({
            "run": self.run, "region": self.region, "endpoint": self.endpoint, "started": self.started.to_string(),
            "ended_early": self.ended, "rows": rows.collect::<Vec<_>>(), "findings": self.findings.0, "left": left,
        })
    }

    /// The table of docs/aws-evidence.md with this run's answers.
    pub fn markdown(&self) -> String {
        let place = match &self.endpoint {
            Some(endpoint) => format!("{endpoint}, which isn't AWS"),
            None => self.region.clone(),
        };
        let day = self.started.strftime("%Y-%m-%d");
        table(&format!("answer ({place}, {day})"), |row| match self.cell(row) {
            Ok(answer) => line(&answer),
            Err(reason) => format!("— ({})", line(&reason)),
        })
    }

    /// Writes both files. Returns their paths.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        let [json, table] = ["json", "md"].map(|end| folder.join(format!("{}.{end}", self.run)));
        std::fs::write(&json, format!("{:#}\n", self.json())).with_context(|| format!("writing {}", json.display()))?;
        std::fs::write(&table, self.markdown()).with_context(|| format!("writing {}", table.display()))?;
        Ok([json, table])
    }
}

/// A table of all rows. `answer` fills the last column.
fn table(head: &str, answer: impl Fn(&Row) -> String) -> String {
    let rows = ROWS.iter().map(|row| format!("| {} | {} | {} |\n", row.question, row.because, answer(row)));
    format!("| question | what depends on it | {head} |\n|---|---|---|\n{}", rows.collect::<String>())
}

/// Text for a cell: one line, without the cell's end.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(endpoint: Option<&str>) -> Record {
        let mut findings = Findings::default();
        findings.add("prober.vxlan", Ok(json!({"arrived": true})));
        findings.add("prober.moves", Ok(json!({"moves": [[20.0, 31.0, 25.5]]})));
        findings.add("prober.vrrp", Err(anyhow::anyhow!("a | b\nc")));
        Record {
            run: "0a1b2c3d".into(),
            region: "eu-west-1".into(),
            endpoint: endpoint.map(str::to_owned),
            started: "2026-12-24T18:00:00Z".parse().unwrap(),
            ended: None,
            findings,
            left: Some(vec![Thing::Instance("i-1".into())]),
        }
    }

    #[test]
    fn the_document_has_every_question_in_order() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/aws-evidence.md");
        let document = std::fs::read_to_string(document).unwrap();
        let begins: Vec<String> = ROWS.iter().map(|row| format!("| {} | {} | ", row.question, row.because)).collect();
        let found = document.lines().filter_map(|line| begins.iter().position(|begin| line.starts_with(begin)));
        let expected = table("answer", |_| "not run yet".to_owned());
        assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(0..ROWS.len()), "docs/aws-evidence.md needs:\n{expected}");
    }

    #[test]
    fn a_table_has_the_answers_and_the_reasons_of_empty_cells() {
        let text = record(None).markdown();
        assert!(text.starts_with("| question | what depends on it | answer (eu-west-1, 2026-12-24) |\n"), "{text}");
        let row = |id: &str| {
            let question = ROWS.iter().find(|row| row.id == id).unwrap().question;
            text.lines().find(|line| line.contains(question)).unwrap()
        };
        assert!(row("replace-route").ends_with("| p50 20.0 ms, p99 20.0 ms, most 20.0 ms (1 moves) |"), "{text}");
        assert!(row("vxlan").ends_with("| yes |") && row("vrrp").ends_with("| — (a \\| b c) |"), "{text}");
        assert_eq!(text.lines().count(), ROWS.len() + 2);
    }

    #[test]
    fn another_endpoint_answers_no_figures() {
        let record = record(Some("http://127.0.0.1:1"));
        let json = record.json();
        let row = |id: &str| json["rows"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
        assert_eq!(row("replace-route")["empty_because"], "measured, but not on AWS");
        assert_eq!(row("vxlan")["answer"], "yes");
        assert_eq!(json["left"], json!(["instance i-1"]));
        assert!(record.markdown().contains("http://127.0.0.1:1, which isn't AWS"));
    }
}
