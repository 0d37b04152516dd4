//! Tests of the lab's network and instances on a real kernel: the network behaves like a VPC, instances boot, and
//! nothing is left behind. Needs root; builds the image if `make setup` hasn't.

mod boot;
mod network;
mod rig;
mod services;
