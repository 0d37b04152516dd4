//! Keeps drained targets out of the backends for unhealthy targets. An operator drains a server of `NAME`; the agent
//! puts the one of the same name in `NAME--all` in maintenance, and back. Pure.

use std::collections::HashMap;

use templates::files::OPEN;

use super::server_state::{Order, Row};

/// What makes the backends `NAME--all` follow the operators' drains.
pub(super) fn orders(rows: &[Row<'_>]) -> Vec<Order> {
    let drained: HashMap<_, _> = rows.iter().map(|row| ((row.backend, row.name), row.is_drained())).collect();
    let order = |twin: &Row<'_>| {
        let group = twin.backend.strip_suffix(OPEN)?;
        let wanted = *drained.get(&(group, twin.name))?;
        let state = if wanted { "maint" } else { "ready" };
        (wanted != (twin.admin != 0)).then(|| Order { server: twin.server(), state })
    };
    rows.iter().filter_map(order).collect()
}

#[cfg(test)]
mod tests {
    use super::super::server_state;
    use super::super::server_state::tests::ANSWER;
    use super::*;

    fn said(answer: &str) -> Vec<String> {
        let orders = orders(&server_state::rows(answer).unwrap());
        orders.into_iter().map(|order| format!("{} {}", order.server, order.state)).collect()
    }

    #[test]
    fn a_drained_target_and_one_with_weight_0_get_no_traffic_while_the_group_fails_open() {
        assert_eq!(said(ANSWER), ["web--all/10.0.1.21:80 maint", "web--all/10.0.1.22:80 maint"]);
    }

    #[test]
    fn a_target_that_is_ready_again_returns_and_then_nothing_is_left_to_do() {
        let drained = "8 web--all 2 10.0.1.21:80 10.0.1.21 2 1";
        let ready = "7 web 2 10.0.1.21:80 10.0.1.21 2 0";
        let answer = ANSWER.replace("8 web--all 2 10.0.1.21:80 10.0.1.21 2 0", drained);
        assert_eq!(said(&answer), ["web--all/10.0.1.22:80 maint"]);
        let answer = answer.replace("7 web 2 10.0.1.21:80 10.0.1.21 2 8", ready);
        assert_eq!(said(&answer), ["web--all/10.0.1.21:80 ready", "web--all/10.0.1.22:80 maint"]);
    }
}
