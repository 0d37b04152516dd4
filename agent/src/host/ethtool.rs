//! Reads a network driver's own counters, as `ethtool -S` does (linux/ethtool.h): netlink doesn't offer them.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

/// linux/sockios.h
const SIOCETHTOOL: Opcode = 0x8946;
const GET_SET_SIZES: u32 = 0x37;
const GET_NAMES: u32 = 0x1b;
const GET_VALUES: u32 = 0x1d;
/// The set of counters, among a driver's sets of names.
const COUNTERS: u32 = 1;
/// The size of a name, padded with zeros.
const NAME: usize = 32;
/// More counters than any driver has: ENA has about 40 for each of 128 queues at most.
const MOST: usize = 1 << 14;

/// The counters of an interface by name; none if its driver has none.
pub fn counters(interface: &str) -> Result<BTreeMap<String, u64>> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // struct ethtool_sset_info: command, reserved, mask of sets; then the size of each set in the mask.
    let mut sizes = [pair(GET_SET_SIZES, 0), 1 << COUNTERS, 0];
    match command(&socket, interface, &mut sizes) {
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => return Ok(BTreeMap::new()),
        outcome => outcome?,
    }
    let [count, _] = halves(sizes[2]);
    if sizes[1] == 0 || count == 0 {
        return Ok(BTreeMap::new());
    }
    let size = usize::try_from(count).ok().filter(|size| *size <= MOST);
    let size = size.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("{interface} has {count} counters")))?;
    // The kernel writes all counters, however many a caller expects, and changed queues change their number: make room
    // for the most.
    // struct ethtool_gstrings: command, set, number; then the names.
    let mut names = vec![0; 2 + MOST * NAME / size_of::<u64>()];
    (names[0], names[1]) = (pair(GET_NAMES, COUNTERS), pair(count, 0));
    command(&socket, interface, &mut names)?;
    // struct ethtool_stats: command, number; then the values.
    let mut values = vec![0; 1 + MOST];
    values[0] = pair(GET_VALUES, count);
    command(&socket, interface, &mut values)?;
    Ok(named(&names, &values, size))
}

/// The counters in the kernel's answers.
fn named(names: &[u64], values: &[u64], count: usize) -> BTreeMap<String, u64> {
    let bytes = names.iter().flat_map(|word| word.to_ne_bytes()).skip(3 * size_of::<u32>());
    let bytes: Vec<u8> = bytes.take(count * NAME).collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    bytes.chunks_exact(NAME).map(text).zip(values.iter().skip(1).copied()).collect()
}

/// struct ifreq of netdevice(7).
#[repr(C)]
struct Request {
    interface: [u8; 16],
    data: *mut u64,
    rest: [u8; 16],
}

#[expect(unsafe_code, reason = "rustix has no safe form of this ioctl")]
fn command(socket: &OwnedFd, interface: &str, data: &mut [u64]) -> Result<()> {
    let mut request = Request { interface: [0; 16], data: data.as_mut_ptr(), rest: [0; 16] };
    let name = request.interface[..15].get_mut(..interface.len());
    name.ok_or(ErrorKind::InvalidInput)?.copy_from_slice(interface.as_bytes());
    // SAFETY: SIOCETHTOOL takes a struct ifreq. It points to `data`, which has room for the answer of each command above.
    unsafe { ioctl(socket, Updater::<SIOCETHTOOL, Request>::new(&mut request)) }?;
    Ok(())
}

/// Two numbers as they stand in memory.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn halves(both: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_matched_as_the_kernel_lays_them_out() {
        let mut bytes = [pair(GET_NAMES, COUNTERS).to_ne_bytes().to_vec(), 2u32.to_ne_bytes().to_vec()].concat();
        for name in ["tx_timeout", "conntrack_allowance_exceeded", "beyond"] {
            bytes.extend(name.bytes().chain(std::iter::repeat(0)).take(NAME));
        }
        bytes.extend([0; 4]);
        let names: Vec<u64> = bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        let counters = named(&names, &[pair(GET_VALUES, 2), 7, 1 << 40, 9], 2);
        let expected = [("tx_timeout", 7), ("conntrack_allowance_exceeded", 1 << 40)];
        assert_eq!(counters, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(halves(pair(3, 4)), [3, 4]);
        assert_eq!(size_of::<Request>(), 40);
    }

    /// Every interface of this machine answers, and a driver's counters have names.
    #[test]
    fn the_kernel_answers_for_every_interface() {
        assert_eq!(counters("lo").unwrap(), BTreeMap::new());
        for interface in std::fs::read_dir("/sys/class/net").unwrap() {
            let interface = interface.unwrap().file_name().into_string().unwrap();
            let found = counters(&interface).unwrap();
            assert!(found.keys().all(|name| !name.is_empty()), "{interface}: {found:?}");
            // Of a veth, one of the driver's values is known.
            if let Some(peer) = found.get("peer_ifindex") {
                let link = std::fs::read_to_string(format!("/sys/class/net/{interface}/iflink")).unwrap();
                assert_eq!(peer.to_string(), link.trim(), "{interface}: {found:?}");
            }
        }
        assert!(counters("no-such-device").is_err());
        assert_eq!(counters("a-name-of-16-byte").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
