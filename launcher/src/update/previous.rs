//! What nodes booted before what they boot now, as the launch template's tag `elbow:previous` says it: where `--rollback`
//! goes. Pure.

use std::fmt;

use templates::Order;

/// The last two, the newest first: the tag is written before the default moves, and an update that ends in between leaves
/// one more in it than there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Previous(Vec<Order>);

impl fmt::Display for Previous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders: Vec<String> = self.0.iter().map(Order::to_string).collect();
        f.write_str(&orders.join(" "))
    }
}

impl Previous {
    /// What a tag's value says; what is none of Elbow's is left out.
    pub fn read(tag: &str) -> Previous {
        Previous(tag.split(' ').filter_map(|order| order.parse().ok()).collect())
    }

    /// The same when nodes boot another from now on than this.
    pub fn and_now(self, boots: Order) -> Previous {
        let older = self.0.into_iter().filter(|order| *order != boots);
        Previous([boots.clone()].into_iter().chain(older).take(2).collect())
    }

    /// The one before `default`, the version that nodes boot.
    pub fn before(&self, default: i64) -> Option<&Order> {
        self.0.iter().find(|order| order.version != default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(version: i64) -> Order {
        format!("{version}:0123456789ab").parse().unwrap()
    }

    #[test]
    fn it_goes_back_and_forth_and_one_further_if_the_default_never_moved() {
        let first = Previous::default().and_now(order(1));
        assert_eq!(first.before(2), Some(&order(1)));
        assert_eq!(first.before(1), None, "the update ended before version 2 was the default");
        let second = Previous::read(&first.to_string()).and_now(order(2));
        assert_eq!(second.to_string(), "2:0123456789ab 1:0123456789ab");
        assert_eq!(second.before(3), Some(&order(2)));
        assert_eq!(second.before(2), Some(&order(1)), "the update ended before version 3 was the default");
        assert_eq!(second.clone().and_now(order(2)), second, "and was run again");
        let back = second.and_now(order(3));
        assert_eq!(back.before(2), Some(&order(3)));
    }

    #[test]
    fn a_tag_of_somebody_elses_making_goes_nowhere() {
        assert_eq!(Previous::read("newest").before(1), None);
    }
}
