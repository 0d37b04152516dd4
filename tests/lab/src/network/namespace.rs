//! The names of the lab's network namespaces, and work inside them.
//!
//! Each thread has a namespace, and a socket or a child process keeps the one where it was created. Work in a namespace
//! therefore runs on a short-lived thread; the process's other threads stay where they are.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::{fs, io, thread};

use anyhow::{Context, Result, anyhow};
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The prefix of the lab's namespaces, by which a sweep finds them.
pub const PREFIX: &str = "elbow-lab-";

/// The VPC's router, with IMDS, the resolver and the API's addresses on its `lo`.
pub const ROUTER: &str = "elbow-lab-router";

/// The namespace between the interfaces and the router, which enforces security groups and the source/destination check
/// as the network card does on AWS.
pub const CARDS: &str = "elbow-lab-cards";

/// The namespace behind an interface (`eni-…`) or of a fixture.
pub fn behind(interface: &str) -> String {
    format!("{PREFIX}{interface}")
}

/// The path of a namespace's file.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// The lab's existing namespaces, sorted.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    names.sort_unstable();
    names
}

/// Runs `work` inside a namespace. Sockets and child processes created there stay there.
pub fn enter<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let file = File::open(path(name)).with_context(|| format!("opening the network namespace {name}"))?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<T, rustix::io::Errno>(work())
        });
        let result = inside.join().map_err(|_| anyhow!("work inside the network namespace {name} panicked"))?;
        result.with_context(|| format!("entering the network namespace {name}"))
    })
}

/// A TCP listener inside a namespace, ready for tokio.
pub fn bind_tcp(name: &str, address: SocketAddr) -> Result<TcpListener> {
    let bind = move || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    enter(name, bind)?.with_context(|| format!("listening on {address} (TCP) in {name}"))
}

/// A UDP socket inside a namespace, ready for tokio.
pub fn bind_udp(name: &str, address: SocketAddr) -> Result<UdpSocket> {
    let bind = move || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    enter(name, bind)?.with_context(|| format!("listening on {address} (UDP) in {name}"))
}
