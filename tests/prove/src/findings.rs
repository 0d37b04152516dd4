//! What the experiments answered, by name: `prober.moves`, `a.install`, `whole.create`. A failed one is
//! `{"error": …}`. Pure, with the reading of results from tags.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use launcher::model::tags::Tags;
use serde_json::{Value, json};

/// All answers so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings(pub BTreeMap<String, Value>);

impl Findings {
    /// Adds the complete results in a probe's tags.
    pub fn read(&mut self, probe: &str, tags: &Tags) {
        for (name, result) in results(tags) {
            self.0.insert(format!("{probe}.{name}"), result);
        }
    }

    /// Adds a result, or the error of an experiment.
    pub fn add(&mut self, name: &str, result: Result<Value>) {
        self.0.insert(name.to_owned(), result.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })));
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The answer of an experiment, or why there is none.
    pub fn answer(&self, name: &str) -> Result<&Value, String> {
        let found = self.0.get(name).ok_or_else(|| "the run ended before this experiment".to_owned())?;
        match found["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(found),
        }
    }
}

/// The results in tags `prove.<name>.<index>.<count>`: base64 of zlib of JSON, cut into pieces. Results that lack a piece
/// aren't there yet.
fn results(tags: &Tags) -> BTreeMap<String, Value> {
    let mut pieces: BTreeMap<(&str, usize), BTreeMap<usize, &str>> = BTreeMap::new();
    for (key, value) in &tags.0 {
        let words: Vec<&str> = key.split('.').collect();
        let ["prove", name, index, count] = words[..] else { continue };
        if let (Ok(index), Ok(count)) = (str::parse(index), str::parse(count)) {
            pieces.entry((name, count)).or_default().insert(index, value);
        }
    }
    let complete = pieces.into_iter().filter(|((_, count), pieces)| pieces.len() == *count);
    let read =
        complete.map(|((name, _), pieces)| (name.to_owned(), decoded(&pieces.into_values().collect::<String>())));
    read.map(|(name, result)| (name, result.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })))).collect()
}

fn decoded(text: &str) -> Result<Value> {
    let bytes = STANDARD.decode(text).context("decoding a result's base64")?;
    let mut json = String::new();
    ZlibDecoder::new(bytes.as_slice()).read_to_string(&mut json).context("decompressing a result")?;
    serde_json::from_str(&json).context("reading a result's JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    // python3 -c 'import base64, json, zlib; print(base64.b64encode(zlib.compress(json.dumps({"arrived": True}).encode(), 9)))'
    const ARRIVED: &str = "eNqrVkosKsosS01RslIoKSpNrQUAN50GRA==";

    #[test]
    fn a_result_is_read_once_all_its_pieces_are_there() {
        let (first, second) = ARRIVED.split_at(10);
        let mut tags = Tags::from_iter([("prove.vrrp.1.2", second), ("Name", "x"), ("prove.imds-value", "0f")]);
        assert_eq!(results(&tags), BTreeMap::new());
        tags = tags.with("prove.vrrp.0.2", first);
        let mut findings = Findings::default();
        findings.read("prober", &tags);
        assert_eq!(findings.answer("prober.vrrp"), Ok(&json!({"arrived": true})));
    }

    #[test]
    fn pieces_are_in_the_order_of_their_numbers() {
        let pieces = ARRIVED.as_bytes().chunks(3).map(|piece| std::str::from_utf8(piece).unwrap());
        let count = ARRIVED.len().div_ceil(3);
        let tags = pieces.enumerate().map(|(index, piece)| (format!("prove.vrrp.{index}.{count}"), piece)).collect();
        assert_eq!(results(&tags)["vrrp"], json!({"arrived": true}));
    }

    #[test]
    fn an_unreadable_result_and_a_failed_experiment_are_errors() {
        let mut findings = Findings::default();
        findings.read("a", &Tags::from_iter([("prove.install.0.1", "?")]));
        findings.add("whole.create", Err(anyhow::anyhow!("exit code 1").context("launcher create")));
        assert!(findings.answer("a.install").unwrap_err().contains("base64"));
        assert_eq!(findings.answer("whole.create").unwrap_err(), "launcher create: exit code 1");
        assert_eq!(findings.answer("b.install").unwrap_err(), "the run ended before this experiment");
    }
}
