//! Which node the routes of a virtual IP lead to: the rule, the evidence for it, and the loop that runs a term.

pub mod dark;
pub mod decide;
pub mod knowledge;
pub mod owner;
pub mod progress;
