//! Nodes that should have reported long ago, and where their operator looks for the reason. Pure.

use jiff::Timestamp;

use super::{NodeHealth, not_reported};

/// Seconds in which a node boots, installs packages and reports.
const BOOT: i64 = 180;

/// The command that prints what a node's boot wrote to its console.
pub fn console(region: &str, instance: &str) -> String {
    format!("aws ec2 get-console-output --latest --output text --region {region} --instance-id {instance}")
}

/// The problems, of which those of nodes that have not reported long after their launch say where to look.
pub fn explained(
    problems: Vec<String>,
    nodes: &[NodeHealth],
    balancer: &str,
    region: &str,
    now: Timestamp,
) -> Vec<String> {
    let explain = |line: String| {
        let Some(node) = nodes.iter().find(|node| line == not_reported(node)) else { return line };
        let Some(launched) = node.launched else { return line };
        match now.duration_since(launched).as_secs() {
            seconds if seconds < BOOT => line,
            seconds => format!(
                "{line}, {} min after its launch: `launcher doctor {balancer}` checks what it needs, and its console shows \
                 its boot: {}",
                seconds / 60,
                console(region, &node.instance)
            ),
        }
    };
    problems.into_iter().map(explain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::health;
    use crate::model::observe::tests::node;

    #[test]
    fn a_node_that_has_not_reported_three_minutes_after_its_launch_is_explained() {
        let silent = "node 1 (i-1) has not reported yet";
        let said = |problem: &str, seconds: i64| {
            let mut one = node("i-1", 1, "running");
            one.launched = Some(Timestamp::from_second(1_000_000 - seconds).unwrap());
            let now = Timestamp::from_second(1_000_000).unwrap();
            explained(vec![problem.to_owned()], &[health(&one)], "web", "eu-west-1", now)
        };
        assert_eq!(said(silent, 179), [silent]);
        assert_eq!(said("node 1 (i-1) is in fault: it can't serve", 900), ["node 1 (i-1) is in fault: it can't serve"]);
        let line = "node 1 (i-1) has not reported yet, 15 min after its launch: `launcher doctor web` checks what it needs, \
                    and its console shows its boot: aws ec2 get-console-output --latest --output text --region eu-west-1 \
                    --instance-id i-1";
        assert_eq!(said(silent, 900), [line]);
    }
}
