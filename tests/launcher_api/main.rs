//! The launcher against the lab's API, without instances: what it makes, what it leaves alone, and that it can be stopped
//! anywhere. Nodes' reports come from a stand-in ([`node`]) where a test needs them; nothing boots here.

mod bad_input;
mod create;
mod destroy;
mod first_create;
mod group;
mod kill;
mod node;
mod obedient;
mod origin;
mod partial;
mod reach;
mod refresh;
mod refusals;
mod rig;
mod rules;
mod strangers;
mod together;
mod unfinished;
mod unreachable;
mod update;
mod virtual_ips;
mod weather;
