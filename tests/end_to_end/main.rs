//! The whole way, as an operator and their clients walk it: in the lab, with instances that boot, through the programs'
//! own command lines. They need root, `make setup` before, and the machine's one lab to themselves.

mod auto_scaling;
mod auto_scaling_create;
mod auto_scaling_lab;
mod auto_scaling_update;
mod failover;
mod handover;
mod health;
mod lab;
mod leaving;
mod load;
mod nodes;
mod notify;
mod pair;
mod refusals;
mod second_chance;
mod takeover;
mod update;
mod virtual_ips;
mod whole_way;
