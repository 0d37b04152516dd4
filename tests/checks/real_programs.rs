//! Rendered files in the hands of the programs that they are for, in the lab's images: HAProxy, keepalived, cloud-init,
//! systemd, rsyslog, logrotate and Prometheus say whether they understand them, and the install step runs. Needs root, for chroot
//! and namespaces of its own; an image or a program that isn't there is a failure.

mod alerts;
mod install;
mod machine;
mod programs;
