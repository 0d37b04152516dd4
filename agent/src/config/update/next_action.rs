//! Decides what to do about the tag `elbow:revision`. Pure.

use templates::Order;
use templates::balancer::Revision;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextAction {
    /// Nothing is new.
    Rest,
    /// This node runs what it should.
    Well,
    /// The tag is no order, for this reason.
    Complain(String),
    /// Try to carry out this order.
    Take(Order),
}

/// What to do about `tag` on a node that runs `running` and has `refused` an order.
pub(super) fn step(tag: Option<&str>, running: &Revision, refused: Option<&Order>) -> NextAction {
    let Some(tag) = tag.map(str::trim).filter(|tag| !tag.is_empty()) else { return NextAction::Well };
    match tag.parse::<Order>() {
        Err(error) => NextAction::Complain(format!("tag elbow:revision: {error}")),
        Ok(order) if order.revision == *running => NextAction::Well,
        Ok(order) if refused == Some(&order) => NextAction::Rest,
        Ok(order) => NextAction::Take(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Revision {
        Revision("0123456789ab".into())
    }

    #[test]
    fn a_node_without_an_order_or_with_one_for_what_it_runs_is_well() {
        for tag in [None, Some(""), Some("7:0123456789ab")] {
            assert_eq!(step(tag, &running(), None), NextAction::Well);
        }
    }

    #[test]
    fn another_revision_is_tried_until_it_is_refused_and_not_again() {
        let order: Order = "2:fedcba987654".parse().unwrap();
        assert_eq!(step(Some("2:fedcba987654"), &running(), None), NextAction::Take(order.clone()));
        assert_eq!(step(Some("2:fedcba987654"), &running(), Some(&order)), NextAction::Rest);
        assert_eq!(
            step(Some("3:fedcba987654"), &running(), Some(&order)),
            NextAction::Take("3:fedcba987654".parse().unwrap())
        );
    }

    #[test]
    fn a_refusal_is_over_when_the_tag_is_taken_back() {
        let order: Order = "2:fedcba987654".parse().unwrap();
        assert_eq!(step(None, &running(), Some(&order)), NextAction::Well);
    }

    #[test]
    fn a_tag_that_is_no_order_is_a_problem() {
        let NextAction::Complain(problem) = step(Some("newest"), &running(), None) else { panic!("it was followed") };
        assert_eq!(problem, "tag elbow:revision: \"newest\" is not <version>:<revision>, such as \"3:0123456789ab\"");
    }
}
