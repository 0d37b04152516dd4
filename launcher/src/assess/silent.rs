//! Nodes that should have reported long ago, and where their operator looks for the reason. Pure.

use jiff::Timestamp;

use super::NodeHealth;

/// Seconds in which a node boots, installs packages and reports.
const BOOT: i64 = 180;

/// The command that prints what a node's boot wrote to its console.
pub fn console(region: &str, instance: &str) -> String {
    format!("aws ec2 get-console-output --latest --output text --region {region} --instance-id {instance}")
}

/// A line for each running node that was launched long ago and hasn't reported.
pub fn overdue(nodes: &[NodeHealth], balancer: &str, region: &str, now: Timestamp) -> Vec<String> {
    let line = |node: &NodeHealth| {
        let is_silent = node.state == "running" && node.running.is_none();
        let seconds = now.duration_since(node.launched.filter(|_| is_silent)?).as_secs();
        (seconds >= BOOT).then(|| {
            format!(
                "{} was launched {} min ago and is silent: `launcher doctor {balancer}` checks what it needs, and its \
                 console shows its boot: {}",
                node.called(),
                seconds / 60,
                console(region, &node.instance)
            )
        })
    };
    nodes.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use templates::names::TAG_RUNNING;

    use super::*;
    use crate::assess::health;
    use crate::model::observe::tests::node;

    #[test]
    fn a_running_node_is_overdue_after_three_minutes_without_a_report() {
        let launched = |state: &str, reports: bool, seconds: i64| {
            let mut one = node("i-1", 1, state);
            one.launched = Some(Timestamp::from_second(1_000_000 - seconds).unwrap());
            if !reports {
                one.tags.0.remove(TAG_RUNNING);
            }
            overdue(&[health(&one)], "web", "eu-west-1", Timestamp::from_second(1_000_000).unwrap())
        };
        for none in [launched("running", false, 179), launched("running", true, 900), launched("stopped", false, 900)] {
            assert_eq!(none, [] as [&str; 0]);
        }
        let line = "node 1 (i-1) was launched 15 min ago and is silent: `launcher doctor web` checks what it needs, and its \
                    console shows its boot: aws ec2 get-console-output --latest --output text --region eu-west-1 \
                    --instance-id i-1";
        assert_eq!(launched("running", false, 900), [line]);
    }
}
