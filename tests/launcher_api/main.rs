//! The launcher against the lab's API, without instances: what it makes, what it leaves alone, and that it can be stopped
//! anywhere. Nodes' reports come from a stand-in ([`node`]) where a test needs them; nothing boots here.

mod bad_input;
mod convert;
mod create;
mod destroy;
mod group;
mod kill;
mod node;
mod reach;
mod rig;
mod together;
mod unfinished;
mod update;
mod weather;
