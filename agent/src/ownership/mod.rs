//! Which node the routes of a virtual IP lead to: the rule, the evidence for it, and the loop that runs a term.

pub mod dark_peers;
pub mod decide;
pub mod evidence;
pub mod route_owner;
pub mod takeover_progress;
