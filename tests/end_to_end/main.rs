//! End-to-end tests: the programs' own command lines, in the lab, on instances that boot. They need root, `make setup`,
//! and no other lab on the machine.

mod auto_scaling;
mod auto_scaling_create;
mod auto_scaling_lab;
mod auto_scaling_update;
mod failover;
mod handover;
mod health;
mod lab;
mod leaving;
mod listener_probe;
mod load;
mod nodes;
mod notify;
mod pair;
mod prove;
mod refusals;
mod second_chance;
mod stickiness;
mod takeover;
mod update;
mod virtual_ips;
mod whole_way;
