//! Reads what the processes of wrk print (client/figures.lua), and merges it. Pure.

use anyhow::{Context, Result, bail, ensure};

/// A process prints so many hundredths of its latencies, and then so many thousandths.
const HUNDREDTHS: usize = 98;
const THOUSANDTHS: usize = 20;

/// The figures of all processes together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub requests: u64,
    /// Those without a good answer.
    pub failed: u64,
    pub requests_a_second: f64,
    /// In seconds.
    pub p50: f64,
    /// In seconds.
    pub p99: f64,
}

/// Reads the lines of this many processes.
pub fn read(text: &str, processes: usize) -> Result<Figures> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("figures "));
    let all = lines.map(process).collect::<Result<Vec<_>>>()?;
    ensure!(all.len() == processes, "{} of {processes} processes of wrk printed figures: {}", all.len(), text.trim());
    let requests = all.iter().map(|process| process.requests).sum::<f64>();
    ensure!(requests > 0.0, "no request was answered: {}", text.trim());
    Ok(Figures {
        requests: requests as u64,
        failed: all.iter().map(|process| process.failed).sum::<f64>() as u64,
        requests_a_second: all.iter().map(|process| process.requests / process.seconds).sum(),
        p50: percentile(&all, 0.5),
        p99: percentile(&all, 0.99),
    })
}

struct Process {
    requests: f64,
    failed: f64,
    seconds: f64,
    /// In seconds.
    latencies: Vec<f64>,
}

fn process(line: &str) -> Result<Process> {
    let number = |word: &str| word.parse::<f64>().with_context(|| format!("reading the number {word:?} of wrk"));
    let numbers = line.split(' ').map(number).collect::<Result<Vec<f64>>>()?;
    let [requests, failed, microseconds, latencies @ ..] = numbers.as_slice() else {
        bail!("wrk printed too few figures: {line:?}");
    };
    ensure!(latencies.len() == HUNDREDTHS + THOUSANDTHS, "wrk printed {} latencies", latencies.len());
    let latencies = latencies.iter().map(|microseconds| microseconds / 1e6).collect();
    Ok(Process { requests: *requests, failed: *failed, seconds: microseconds / 1e6, latencies })
}

/// The latency below which this part of all requests is. Each latency stands for a part of its process's requests.
fn percentile(all: &[Process], part: f64) -> f64 {
    let mut weighted = Vec::new();
    for process in all {
        for (n, latency) in process.latencies.iter().enumerate() {
            let weight = if n < HUNDREDTHS { 0.01 } else { 0.001 };
            weighted.push((*latency, process.requests * weight));
        }
    }
    weighted.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let total = weighted.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut below = 0.0;
    for (latency, weight) in &weighted {
        below += weight;
        // The sum of parts isn't exact.
        if below >= total * (part - 1e-9) {
            return *latency;
        }
    }
    weighted.last().map_or(0.0, |(latency, _)| *latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What wrk prints: requests took `offset` + 1 ms to `offset` + 100 ms, each time equally often.
    fn line(requests: u64, failed: u64, offset: u64) -> String {
        let hundredths = (1..=98).map(|ms| (ms + offset) * 1000);
        let thousandths = (1..=20).map(|n| (98 + offset) * 1000 + n * 100);
        let latencies: Vec<String> = hundredths.chain(thousandths).map(|us| us.to_string()).collect();
        format!("figures {requests} {failed} 5000000 {}\n", latencies.join(" "))
    }

    #[test]
    fn processes_are_merged_by_their_requests() {
        let one = read(&format!("Running 5s test\n{}", line(1000, 2, 0)), 1).unwrap();
        assert_eq!((one.requests, one.failed, one.requests_a_second), (1000, 2, 200.0));
        assert_eq!((one.p50, one.p99), (0.05, 0.099));
        // The slower process has a tenth of the requests: they are the slowest tenth.
        let both = read(&(line(9000, 0, 0) + &line(1000, 1, 1000)), 2).unwrap();
        assert_eq!((both.requests, both.failed, both.requests_a_second), (10_000, 1, 2000.0));
        assert_eq!((both.p50, both.p99), (0.056, 1.09));
    }

    #[test]
    fn a_process_without_figures_is_shown() {
        let error = read(&(line(1000, 0, 0) + "unable to connect to 10.255.0.10:80\n"), 2).unwrap_err().to_string();
        assert!(error.contains("1 of 2 processes") && error.contains("unable to connect"), "{error}");
        assert!(read(&line(0, 9, 0), 1).is_err());
        assert!(read("figures 1 0 5000000 3 4\n", 1).is_err());
    }
}
