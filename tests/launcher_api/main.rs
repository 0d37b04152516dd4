//! Tests of the launcher with the lab's API and without instances: what it creates, leaves alone and refuses, and that
//! it can be killed at any call. [`node`] writes the nodes' reports where a test needs them.

mod bad_input;
mod bucket;
mod create;
mod destroy;
mod doctor;
mod doctor_problems;
mod first_create;
mod group;
mod images;
mod init;
mod kill;
mod node;
mod obedient;
mod operator_policy;
mod origin;
mod partial;
mod reach;
mod refresh;
mod refusals;
mod rig;
mod rounds;
mod rules;
mod strangers;
mod targets;
mod together;
mod unfinished;
mod unreachable;
mod update;
mod validate;
mod virtual_ips;
mod weather;
