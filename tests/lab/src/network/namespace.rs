//! Network namespaces: their names, and doing things inside one from this process.
//!
//! A namespace belongs to a thread, and a socket or a child keeps the one it was made in. So whatever is to be made
//! inside is made on a short-lived thread that has moved there; nothing else of this process moves.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::{fs, io, thread};

use anyhow::{Context, Result, anyhow};
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What every namespace of the lab is called at the beginning, so that a dead lab's are found.
pub const PREFIX: &str = "elbow-lab-";

/// The VPC's router, with IMDS, the resolver and the API's addresses on its `lo`.
pub const ROUTER: &str = "elbow-lab-router";

/// Where security groups and the source/dest check are enforced: each interface passes through here on its way to the
/// router, as each passes through its own card on AWS.
pub const CARDS: &str = "elbow-lab-cards";

/// The namespace behind an interface (`eni-…`) or of a fixture.
pub fn behind(interface: &str) -> String {
    format!("{PREFIX}{interface}")
}

/// Where a namespace is found while it has a name.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// The lab's namespaces that exist, sorted.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    names.sort_unstable();
    names
}

/// Does something inside a namespace: sockets made there and children started there stay there.
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
