//! The questions, and how the findings answer them. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::findings::Findings;
use crate::statistics::spread;

/// A question that only AWS can answer.
pub struct Row {
    pub id: &'static str,
    pub question: &'static str,
    /// What depends on the answer, with links from docs/.
    pub because: &'static str,
    /// Whether the answer is a figure, which another endpoint than AWS can't give.
    pub is_figure: bool,
    pub answer: fn(&Findings) -> Result<String, String>,
}

/// All questions, in the order of the table.
pub const ROWS: [Row; 15] = [
    Row {
        id: "replace-route",
        question: "How long does a call of ReplaceRoute take?",
        because: "The length of a [takeover](../ARCHITECTURE.md#the-warm-path)",
        is_figure: true,
        answer: |findings| moves(findings, 0),
    },
    Row {
        id: "new-flow",
        question: "After how long does a new connection follow the route, counted from the call's start?",
        because: "The length of an [outage](../ARCHITECTURE.md#a-node-is-lost)",
        is_figure: true,
        answer: |findings| moves(findings, 2),
    },
    Row {
        id: "open-flow",
        question: "After how long do packets of an open connection follow it?",
        because: "When the [second chance](../ARCHITECTURE.md#the-second-chance) begins to pass packets on",
        is_figure: true,
        answer: |findings| moves(findings, 1),
    },
    Row {
        id: "imds-tag",
        question: "After how long does IMDS show a changed tag?",
        because: "When a node sees an [order](../ARCHITECTURE.md#a-balancer-is-changed) or a handover request",
        is_figure: true,
        answer: |findings| {
            let delays = numbers(&findings.answer("prober.imds")?["delays"]);
            spread(&delays, "changes").ok_or_else(|| "no change was seen".to_owned())
        },
    },
    Row {
        id: "middle",
        question: "Does a security group admit packets from the middle of a connection that its interface doesn't know?",
        because: "The [second chance](../ARCHITECTURE.md#the-second-chance) passes such packets on",
        is_figure: false,
        answer: |findings| {
            let answer = findings.answer("prober.middle")?;
            let client = answer["client"].as_str().unwrap_or("nothing");
            Ok(format!("{}; without Elbow the client sees: {client}", yes(&answer["arrived"])))
        },
    },
    Row {
        id: "vxlan",
        question: "Does VXLAN (UDP 4789) pass between instances of a group that admits it among its members?",
        because: "The tunnels of the [second chance](../ARCHITECTURE.md#the-second-chance)",
        is_figure: false,
        answer: |findings| Ok(yes(&findings.answer("prober.vxlan")?["arrived"])),
    },
    Row {
        id: "vrrp",
        question: "Does unicast VRRP (protocol 112) pass between zones?",
        because: "The [election](../ARCHITECTURE.md#a-node-is-lost)",
        is_figure: false,
        answer: |findings| Ok(yes(&findings.answer("prober.vrrp")?["arrived"])),
    },
    Row {
        id: "watch",
        question: "Does a rule for members admit a member's connection to a virtual IP that is routed to another member?",
        because: "The [path watch](../ARCHITECTURE.md#the-path-watch)",
        is_figure: false,
        answer: |findings| connection(findings, "prober.watch"),
    },
    Row {
        id: "closed",
        question: "Control: does a connection to a port without a rule fail?",
        because: "If it doesn't, the four answers above mean nothing",
        is_figure: false,
        answer: |findings| match findings.answer("prober.closed")?["connected"].as_bool() {
            Some(false) => Ok("yes".to_owned()),
            _ => Ok("no".to_owned()),
        },
    },
    Row {
        id: "al2023",
        question: "What does dnf install on Amazon Linux 2023, and in which time?",
        because: "The default image's [install step](../ARCHITECTURE.md#a-node-boots)",
        is_figure: true,
        answer: |findings| packages(findings, "amzn", "al2023"),
    },
    Row {
        id: "ubuntu",
        question: "What does apt install on Ubuntu 24.04, and in which time?",
        because: "The [install step](../ARCHITECTURE.md#a-node-boots)",
        is_figure: true,
        answer: |findings| packages(findings, "ubuntu", "ubuntu"),
    },
    Row {
        id: "debian",
        question: "What does apt install on Debian 12, and in which time?",
        because: "The [install step](../ARCHITECTURE.md#a-node-boots)",
        is_figure: true,
        answer: |findings| packages(findings, "debian", "debian"),
    },
    Row {
        id: "create",
        question: "How long does `create` take until the balancer serves?",
        because: "[`create`](../ARCHITECTURE.md#launcher-create) waits until every node reports that it serves",
        is_figure: true,
        answer: |findings| seconds(findings, "whole.create"),
    },
    Row {
        id: "power-cut",
        question: "How long are clients not served when the active node loses its power?",
        because: "What Elbow is for: [a node is lost](../ARCHITECTURE.md#a-node-is-lost)",
        is_figure: true,
        answer: |findings| {
            findings.answer("whole.create")?;
            findings.answer("whole.cut")?;
            let answer = findings.answer("prober.outage")?;
            let (outage, failed) = (answer["outage_ms"].as_f64().unwrap_or_default(), &answer["failed"]);
            Ok(format!("{outage:.0} ms ({failed} requests failed)"))
        },
    },
    Row {
        id: "destroy",
        question: "How long does `destroy` take until nothing is left?",
        because: "[`destroy`](../ARCHITECTURE.md#launcher-destroy) ends with a sweep that must find nothing",
        is_figure: true,
        answer: |findings| {
            findings.answer("whole.create")?;
            seconds(findings, "whole.destroy")
        },
    },
];

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// The spread of one column of the moves: 0 the call, 1 the open flow, 2 new flows.
fn moves(findings: &Findings, column: usize) -> Result<String, String> {
    let moves = findings.answer("prober.moves")?["moves"].as_array().cloned().unwrap_or_default();
    let times: Vec<f64> = moves.iter().filter_map(|times| times[column].as_f64()).collect();
    let unseen = moves.len() - times.len();
    let text = spread(&times, "moves").ok_or_else(|| "no move was seen".to_owned())?;
    Ok(if unseen == 0 { text } else { format!("{text}; {unseen} more not within 30 s") })
}

fn yes(value: &Value) -> String {
    if value.as_bool() == Some(true) { "yes".to_owned() } else { "no".to_owned() }
}

fn connection(findings: &Findings, name: &str) -> Result<String, String> {
    let answer = findings.answer(name)?;
    match (answer["connected"].as_bool(), answer["name"].as_str(), answer["why"].as_str()) {
        (Some(true), Some("a"), _) => Ok("yes".to_owned()),
        (Some(true), name, _) => Err(format!("it reached {}", name.unwrap_or("nothing"))),
        (_, _, why) => Ok(format!("no: {}", why.unwrap_or("no reason"))),
    }
}

/// What the probe with this system installed.
fn packages(findings: &Findings, id: &str, system: &str) -> Result<String, String> {
    if let Err(error) = findings.answer(&format!("{system}.launch"))
        && findings.has(&format!("{system}.launch"))
    {
        return Err(format!("not launched: {error}"));
    }
    let names = ["prober.install", "a.install", "b.install"];
    let installs: Vec<&Value> = names.iter().filter_map(|name| findings.answer(name).ok()).collect();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    if let Some(found) = installs.iter().find(|install| install["system"] == id) {
        let [haproxy, keepalived] = ["haproxy", "keepalived"].map(|name| text(&found[name]));
        let seconds = found["seconds"].as_f64().unwrap_or_default();
        return Ok(format!("HAProxy {haproxy}, keepalived {keepalived} in {seconds:.0} s"));
    }
    let failed: BTreeSet<String> = names.iter().filter_map(|name| findings.answer(name).err()).collect();
    let others: Vec<String> =
        installs.iter().map(|i| format!("{} {}", text(&i["system"]), text(&i["release"]))).collect();
    Err(match failed.is_empty() {
        true => format!("no probe ran this system; they ran {}", others.join(", ")),
        false => Vec::from_iter(failed).join("; "),
    })
}

fn seconds(findings: &Findings, name: &str) -> Result<String, String> {
    Ok(format!("{:.0} s", findings.answer(name)?["seconds"].as_f64().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(id: &str, findings: &[(&str, Value)]) -> Result<String, String> {
        let mut all = Findings::default();
        findings.iter().for_each(|(name, value)| all.add(name, Ok(value.clone())));
        (ROWS.iter().find(|row| row.id == id).unwrap().answer)(&all)
    }

    #[test]
    fn each_question_is_answered_by_its_own_finding() {
        let moves = ("prober.moves", json!({"moves": [[20.0, 31.0, 25.5], [22.0, null, 26.5]]}));
        let middle = ("prober.middle", json!({"arrived": true, "client": "reset"}));
        let created = ("whole.create", json!({"seconds": 93.4}));
        let cut = ("whole.cut", json!({"terminated": "i-1"}));
        let outage = ("prober.outage", json!({"outage_ms": 640.2, "failed": 9}));
        for (id, findings, expected) in [
            ("replace-route", vec![moves.clone()], "p50 20.0 ms, p99 22.0 ms, most 22.0 ms (2 moves)"),
            ("new-flow", vec![moves.clone()], "p50 25.5 ms, p99 26.5 ms, most 26.5 ms (2 moves)"),
            ("open-flow", vec![moves], "p50 31.0 ms, p99 31.0 ms, most 31.0 ms (1 moves); 1 more not within 30 s"),
            ("middle", vec![middle], "yes; without Elbow the client sees: reset"),
            ("vxlan", vec![("prober.vxlan", json!({"arrived": false}))], "no"),
            ("watch", vec![("prober.watch", json!({"connected": true, "name": "a", "ms": 1.0}))], "yes"),
            ("watch", vec![("prober.watch", json!({"connected": false, "why": "silence"}))], "no: silence"),
            ("closed", vec![("prober.closed", json!({"connected": false, "why": "silence"}))], "yes"),
            ("closed", vec![("prober.closed", json!({"connected": true, "name": "a"}))], "no"),
            ("create", vec![created.clone()], "93 s"),
            ("power-cut", vec![created, cut, outage], "640 ms (9 requests failed)"),
        ] {
            assert_eq!(answer(id, &findings).unwrap(), expected, "{id}");
        }
    }

    #[test]
    fn an_installation_counts_only_for_the_system_that_ran_it() {
        let install =
            json!({"system": "debian", "release": "12", "seconds": 9.6, "haproxy": "2.6.12", "keepalived": "2.2.7"});
        let all = ["prober.install", "a.install", "b.install"].map(|name| (name, install.clone()));
        assert_eq!(answer("debian", &all).unwrap(), "HAProxy 2.6.12, keepalived 2.2.7 in 10 s");
        assert_eq!(
            answer("al2023", &all).unwrap_err(),
            "no probe ran this system; they ran debian 12, debian 12, debian 12"
        );
        let failed = [("ubuntu.launch", json!({"error": "ec2:RunInstances: no such image"}))];
        assert_eq!(answer("ubuntu", &failed).unwrap_err(), "not launched: ec2:RunInstances: no such image");
    }

    #[test]
    fn a_missing_or_failed_experiment_gives_its_reason() {
        for row in &ROWS {
            assert_eq!(
                (row.answer)(&Findings::default()).unwrap_err(),
                "the run ended before this experiment",
                "{}",
                row.id
            );
        }
        let failed = [("whole.create", json!({"error": "exit code 1"}))];
        for id in ["create", "power-cut", "destroy"] {
            assert_eq!(answer(id, &failed).unwrap_err(), "exit code 1");
        }
    }
}
