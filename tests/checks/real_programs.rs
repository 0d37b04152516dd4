//! Checks rendered files with the real programs in the lab's images: HAProxy, keepalived, cloud-init, systemd, rsyslog,
//! logrotate and Prometheus. Also sends requests through HAProxy and runs the install step. Needs root for chroot and
//! namespaces; fails if an image or a program is missing.

mod alerts;
mod fetch;
mod hostile;
mod install;
mod machine;
mod programs;
mod traffic;
