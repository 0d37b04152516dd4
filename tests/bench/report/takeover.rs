//! The section on takeovers: each tool's time for each number of tables.

use anyhow::Result;

use super::plot::{self, Panel, Series};
use super::statistics::{figure, greatest, median};
use super::{Part, table};
use crate::results::{Cell, Measured, Takeover, Who};

const WORDS: &str = "\
## Takeover: every table's route moves to another node

![seconds over route tables, for each latency](bench-takeover.svg)

The time from the start of a node's takeover to the answer to its last ReplaceRoute, as the proxy recorded the calls.
All tools run in instances of the same image in the same VPC and use TLS. Each call is answered after the latency; the
handshakes of a new connection take twice the latency before that.

- **floor**: a client of the same SDK makes the same calls concurrently over new connections, and does nothing else.
  With throttling, the token bucket's own time: (tables − 50) ÷ 5 a second, and a round trip. **Warm floor**: the same
  over open connections. Elbow keeps some connections open, and opens the others when it needs them.
- **Elbow**: the active node's keepalived is killed. The time starts at the other agent's `vrrp MASTER`.
- **CLI loop**: the original's script, `aws ec2 replace-route || aws ec2 create-route` for each table in turn. The AWS
  CLI is Debian 12's 2.9.19 (PyPI's 1.46 starts about a tenth faster here).
- **move-ip**: Debian 12's resource agent `aws-vpc-move-ip` (resource-agents 4.12.0), run as Pacemaker runs it. For each
  table in turn it reads the route and waits a second; later it replaces the route and waits a second. Pacemaker stops it
  after 180 s. It mostly sleeps, so it runs at the same time as the CLI loop, in an instance of its own.

At low latency, 200 tables wait for the lab's moto, which answers about 200 calls a second.

";
const ALL: [Who; 4] = [Who::Floor, Who::Agent, Who::Loop, Who::MoveIp];

/// A table for each latency, and one plot; `None` if nothing was measured.
pub fn render(measured: &[Measured<Takeover>]) -> Result<Option<Part>> {
    if measured.is_empty() {
        return Ok(None);
    }
    let mut section = String::from(WORDS);
    for Measured { data, .. } in measured {
        section.push_str(&format!("At {} ms latency, median (worst, n):\n\n", data.latency_ms));
        section.push_str(&table_of(data));
    }
    let panels: Vec<Panel> = measured.iter().map(|m| panel(&m.data)).collect();
    Ok(Some(Part { section, plot: Some(plot::log_log(&panels, ("route tables", "seconds until all are moved"))?) }))
}

fn table_of(data: &Takeover) -> String {
    let mut rows: Vec<(usize, bool)> = data.cells.iter().map(|cell| (cell.tables, cell.throttled)).collect();
    rows.sort_unstable();
    rows.dedup();
    let rows = rows.into_iter().map(|(tables, throttled)| {
        let cell = |who| data.cells.iter().find(|c| (c.who, c.tables, c.throttled) == (who, tables, throttled));
        let ratio = |over: Who, under: Who| match (cell(over).and_then(middle), cell(under).and_then(middle)) {
            (Some(over), Some(under)) => format!("{}×", figure(over / under)),
            _ => "–".to_owned(),
        };
        let name = if throttled { format!("{tables}, throttled to 50 and 5/s") } else { tables.to_string() };
        let shown = |who| cell(who).map_or("–".to_owned(), show);
        [
            name,
            shown(Who::WarmFloor),
            shown(Who::Floor),
            shown(Who::Agent),
            ratio(Who::Agent, Who::Floor),
            shown(Who::Loop),
            ratio(Who::Loop, Who::Agent),
            shown(Who::MoveIp),
            ratio(Who::MoveIp, Who::Agent),
        ]
    });
    let head = ["tables", "warm floor", "floor", "Elbow", "÷ floor", "CLI loop", "÷ Elbow", "move-ip", "÷ Elbow"];
    table::markdown(&head, rows)
}

/// `0.153 (0.170, 5)`: median, worst, n; or the number of moved routes if the takeover was stopped.
fn show(cell: &Cell) -> String {
    let seconds: Vec<f64> = cell.attempts.iter().map(|attempt| attempt.seconds).collect();
    let (Some(middle), Some(worst)) = (median(&seconds), greatest(&seconds)) else { return "–".to_owned() };
    match cell.attempts.iter().map(|attempt| attempt.moved).min() {
        Some(moved) if moved < cell.tables => format!("stopped at {} with {moved} moved", figure(worst)),
        _ => format!("{} ({}, {})", figure(middle), figure(worst), seconds.len()),
    }
}

/// The median, if no takeover was stopped.
fn middle(cell: &Cell) -> Option<f64> {
    let ended = cell.attempts.iter().all(|attempt| attempt.moved == cell.tables);
    let seconds: Vec<f64> = cell.attempts.iter().map(|attempt| attempt.seconds).collect();
    median(&seconds).filter(|_| ended)
}

fn panel(data: &Takeover) -> Panel {
    let series = ALL.into_iter().map(|who| {
        let cells = data.cells.iter().filter(|cell| cell.who == who && !cell.throttled);
        Series {
            name: name(who).to_owned(),
            colour: colour(who),
            points: cells.filter_map(|cell| Some((cell.tables as f64, middle(cell)?))).collect(),
        }
    });
    Panel { title: format!("{} ms API latency", data.latency_ms), series: series.collect() }
}

fn name(who: Who) -> &'static str {
    match who {
        Who::WarmFloor => "warm floor",
        Who::Floor => "floor",
        Who::Agent => "Elbow",
        Who::Loop => "CLI loop",
        Who::MoveIp => "aws-vpc-move-ip",
    }
}

fn colour(who: Who) -> plot::Colour {
    match who {
        Who::WarmFloor | Who::Floor => plot::GREY,
        Who::Agent => plot::BLUE,
        Who::Loop => plot::ORANGE,
        Who::MoveIp => plot::PURPLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Attempt;

    fn cell(who: Who, tables: usize, attempts: &[(f64, usize)]) -> Cell {
        let attempts = attempts.iter().map(|&(seconds, moved)| Attempt { seconds, moved }).collect();
        Cell { who, tables, throttled: false, attempts }
    }

    #[test]
    fn a_row_shows_medians_worst_n_and_ratios() {
        let cells = vec![
            cell(Who::Floor, 20, &[(0.2, 20), (0.1, 20), (0.15, 20)]),
            cell(Who::Agent, 20, &[(0.18, 20)]),
            cell(Who::Loop, 20, &[(18.0, 20)]),
        ];
        let text = table_of(&Takeover { latency_ms: 50, cells });
        let row = text.lines().last().map(str::to_owned).unwrap_or_default();
        let row = if row.is_empty() { text.lines().nth(2).unwrap().to_owned() } else { row };
        assert_eq!(row, "| 20 | – | 0.150 (0.200, 3) | 0.180 (0.180, 1) | 1.20× | 18.0 (18.0, 1) | 100× | – | – |");
    }

    #[test]
    fn a_stopped_takeover_has_no_median_and_no_ratio() {
        let stopped = cell(Who::MoveIp, 200, &[(180.0, 37)]);
        assert_eq!(show(&stopped), "stopped at 180 with 37 moved");
        assert_eq!(middle(&stopped), None);
    }
}
