//! Changing a balancer that runs: [`next`] decides who is told what, and [`difference`] what changes at all; both are
//! pure. [`lease`] keeps two operators from doing it at once, and [`roll`] carries it out: what nodes may do is widened
//! first and narrowed last, standbys go before active nodes, and what a node refuses goes no further.

pub mod difference;
pub mod lease;
pub mod next;
pub mod roll;
pub mod settings;
