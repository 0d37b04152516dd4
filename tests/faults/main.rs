//! Faults of a running balancer, as its clients see them: one file for each kind of fault, one test for each fault.
//! Most tests share a stage (`stage.rs`): the pair with the fault, and a second pair that must not notice it.

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
mod node_state;
mod nodes;
mod operator;
mod path_watch;
mod processes;
mod slow_api;
mod stage;
mod stalls;
mod tables;
mod tags;
mod targets;
mod targets_under_load;
mod watch;
