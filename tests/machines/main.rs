//! The lab's machines on a real kernel: the network behaves as a VPC's does, instances boot, and nothing is left behind.
//! Needs root and the image (`make setup`).

mod network;
mod rig;
