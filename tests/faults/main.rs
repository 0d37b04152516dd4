//! Everything that can go wrong with a running balancer, as its clients see it: a file for each family of faults, a test
//! for each fault. All but a few play on one stage (`stage.rs`): a pair that the fault befalls, and beside it, in the same
//! VPC, a pair that must not notice.

mod api;
mod clock;
mod disk;
mod groups;
mod load;
mod many_balancers;
mod many_nodes;
mod membership;
mod network;
mod node_network;
mod nodes;
mod operator;
mod processes;
mod slow_api;
mod stage;
mod stalls;
mod tables;
mod tags;
mod watch;
