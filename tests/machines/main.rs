//! The lab's machines on a real kernel: the network behaves as a VPC's does, instances boot, and nothing is left behind.
//! Needs root; builds the image if `make setup` hasn't.

mod boot;
mod network;
mod rig;
mod services;
