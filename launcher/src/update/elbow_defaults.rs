//! The versions that Elbow made the default of a launch template, newest first, as in the template's tag `elbow:default`.
//! The tag is written before the default moves, and a launcher may be killed in between: so Elbow's default is the first
//! version of the list or the second. Any other was made the default by hand. Pure.

use std::fmt;

use templates::Order;

/// The new default, the one before it, and the target of `--rollback` if the default never moved.
const KEPT: usize = 3;

/// The versions, the newest default first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults(Vec<Order>);

impl fmt::Display for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders: Vec<String> = self.0.iter().map(Order::to_string).collect();
        f.write_str(&orders.join(" "))
    }
}

impl Defaults {
    /// The list for a new template.
    pub fn first(order: Order) -> Defaults {
        Defaults(vec![order])
    }

    /// Reads a tag's value; words that aren't orders are left out.
    pub fn read(tag: &str) -> Defaults {
        Defaults(tag.split(' ').filter_map(|order| order.parse().ok()).collect())
    }

    /// The list to write before the default moves from `boots` to `to`. Entries before `boots` never became the default.
    pub fn moved(&self, boots: &Order, to: &Order) -> Defaults {
        let at = self.0.iter().position(|order| order == boots).map_or(0, |at| at + 1);
        let all = [to, boots].into_iter().chain(&self.0[at..]);
        Defaults(all.take(KEPT).cloned().collect())
    }

    /// The version that Elbow made the default last, or was about to.
    pub fn newest(&self) -> Option<&Order> {
        self.0.first()
    }

    /// Elbow's default, if `default` was made the default by hand. Nothing for a template without the tag.
    pub fn overruled(&self, default: i64) -> Option<&Order> {
        self.newest().filter(|_| self.place(default).is_none())
    }

    /// The default before this one; Elbow's default if this one was made the default by hand.
    pub fn before(&self, default: i64) -> Option<&Order> {
        self.0.get(self.place(default).map_or(0, |at| at + 1))
    }

    fn place(&self, default: i64) -> Option<usize> {
        self.0.iter().take(2).position(|order| order.version == default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(version: i64) -> Order {
        format!("{version}:0123456789ab").parse().unwrap()
    }

    #[test]
    fn the_default_moves_back_and_forth_and_a_move_that_failed_is_repeated() {
        let first = Defaults::first(order(1));
        assert_eq!(first.before(1), None);
        let second = first.moved(&order(1), &order(2));
        assert_eq!(second.to_string(), "2:0123456789ab 1:0123456789ab");
        assert_eq!(Defaults::read(&second.to_string()), second);
        assert_eq!(second.before(2), Some(&order(1)));
        assert_eq!(second.before(1), None, "killed before version 2 was the default");
        let third = second.moved(&order(2), &order(3));
        assert_eq!(third.before(2), Some(&order(1)), "killed before version 3 was the default");
        assert_eq!(third.moved(&order(2), &order(3)), third, "and run again");
        assert_eq!(third.moved(&order(2), &order(4)).to_string(), "4:0123456789ab 2:0123456789ab 1:0123456789ab");
        let back = third.moved(&order(3), &order(2));
        assert_eq!(back.to_string(), "2:0123456789ab 3:0123456789ab 2:0123456789ab");
        assert_eq!(back.before(2), Some(&order(3)));
        assert_eq!(back.before(3), Some(&order(2)), "killed during a rollback, which continues");
        assert_eq!(back.moved(&order(2), &order(3)).before(3), Some(&order(2)));
    }

    #[test]
    fn only_the_first_two_versions_of_the_list_are_elbows_default() {
        let defaults = Defaults::read("3:0123456789ab 2:0123456789ab 1:0123456789ab");
        assert_eq!([3, 2].map(|default| defaults.overruled(default)), [None; 2]);
        assert_eq!([1, 4].map(|default| defaults.overruled(default)), [Some(&order(3)); 2]);
        assert_eq!(defaults.before(4), Some(&order(3)), "--rollback leaves a default that was set by hand");
        assert_eq!(
            defaults.moved(&order(4), &order(5)).overruled(4),
            None,
            "killed before it moved, the update continues"
        );
        assert_eq!(Defaults::read("newest"), Defaults::default());
        assert_eq!(Defaults::default().overruled(1), None);
    }
}
