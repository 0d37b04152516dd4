//! Network ACLs: which packets they let through. Pure.
//!
//! The rules of a direction are tried in the order of their numbers. The first that matches decides; packets that no rule
//! matches are dropped (AWS VPC user guide, "Network ACL rules"). Network ACLs keep no state: answers need rules, too.

use std::fmt;

use ipnet::Ipv4Net;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessList {
    /// `acl-…`
    pub id: String,
    /// The subnets that it guards.
    pub subnets: Vec<String>,
    /// Its IPv4 rules, in any order.
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub number: i32,
    /// Whether it is about packets that leave the subnet.
    pub outbound: bool,
    pub allows: bool,
    /// IP's number; none is all protocols.
    pub protocol: Option<u8>,
    /// First and last port; none is all.
    pub ports: Option<(u16, u16)>,
    /// The other end.
    pub net: Ipv4Net,
}

/// Packets that have to pass a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packets {
    /// Whether they leave the subnet.
    pub outbound: bool,
    pub protocol: u8,
    /// Their destination ports; none for protocols without ports.
    pub ports: Option<(u16, u16)>,
    /// The other end.
    pub net: Ipv4Net,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const VRRP: u8 = 112;

/// The ports from which Linux connects (`net.ipv4.ip_local_port_range`): answers go there.
pub const EPHEMERAL: (u16, u16) = (32768, 60999);

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            TCP => f.write_str("tcp")?,
            UDP => f.write_str("udp")?,
            VRRP => f.write_str("protocol 112 (VRRP)")?,
            other => write!(f, "protocol {other}")?,
        }
        match self.ports {
            Some((first, last)) if first == last => write!(f, " {first}")?,
            Some((first, last)) => write!(f, " {first}-{last}")?,
            None => {}
        }
        write!(f, " {} {}", if self.outbound { "to" } else { "from" }, self.net)
    }
}

/// A list's decision about packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    Drops,
    /// It passes some of them, and drops others.
    Partly,
}

impl AccessList {
    /// Its decision about these packets.
    pub fn verdict(&self, packets: &Packets) -> Verdict {
        let mut rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.touches(packets)).collect();
        rules.sort_by_key(|rule| rule.number);
        let decisive = rules.iter().position(|rule| rule.covers(packets));
        let passes = decisive.is_some_and(|at| rules[at].allows);
        let before = &rules[..decisive.unwrap_or(rules.len())];
        match (passes, before.iter().all(|rule| rule.allows == passes)) {
            (_, false) => Verdict::Partly,
            (true, true) => Verdict::Passes,
            (false, true) => Verdict::Drops,
        }
    }
}

impl Rule {
    /// Whether it decides about some of the packets.
    fn touches(&self, packets: &Packets) -> bool {
        let ports = match (self.ports, packets.ports) {
            (Some(own), Some(others)) => own.0 <= others.1 && others.0 <= own.1,
            _ => true,
        };
        let nets = self.net.contains(&packets.net) || packets.net.contains(&self.net);
        let protocol = self.protocol.is_none_or(|protocol| protocol == packets.protocol);
        self.outbound == packets.outbound && protocol && ports && nets
    }

    /// Whether it decides about all of the packets that it touches.
    fn covers(&self, packets: &Packets) -> bool {
        let ports = match (self.ports, packets.ports) {
            (Some(own), Some(others)) => own.0 <= others.0 && others.1 <= own.1,
            _ => true,
        };
        ports && self.net.contains(&packets.net)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: i32, allows: bool, protocol: Option<u8>, ports: Option<(u16, u16)>, net: &str) -> Rule {
        Rule { number, outbound: false, allows, protocol, ports, net: net.parse().unwrap() }
    }

    fn list(rules: &[Rule]) -> AccessList {
        AccessList { id: "acl-1".into(), subnets: Vec::new(), rules: rules.to_vec() }
    }

    fn http(net: &str) -> Packets {
        Packets { outbound: false, protocol: TCP, ports: Some((80, 80)), net: net.parse().unwrap() }
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_what_none_matches_is_dropped() {
        let all = rule(100, true, None, None, "0.0.0.0/0");
        let no_http = rule(50, false, Some(TCP), Some((80, 80)), "10.0.0.0/16");
        let asked = http("10.0.1.0/24");
        assert_eq!(list(&[]).verdict(&asked), Verdict::Drops);
        assert_eq!(list(std::slice::from_ref(&all)).verdict(&asked), Verdict::Passes);
        assert_eq!(list(&[all.clone(), no_http.clone()]).verdict(&asked), Verdict::Drops);
        assert_eq!(list(&[all.clone(), no_http.clone()]).verdict(&http("10.1.0.0/24")), Verdict::Passes);
        assert_eq!(list(&[all.clone(), Rule { number: 200, ..no_http.clone() }]).verdict(&asked), Verdict::Passes);
        assert_eq!(list(&[Rule { outbound: true, ..all }]).verdict(&asked), Verdict::Drops);
    }

    #[test]
    fn a_rule_about_a_part_of_the_packets_leaves_the_rest_to_later_rules() {
        let half = rule(50, false, Some(TCP), None, "10.0.1.0/25");
        let all = rule(100, true, None, None, "0.0.0.0/0");
        assert_eq!(list(&[half.clone(), all]).verdict(&http("10.0.1.0/24")), Verdict::Partly);
        assert_eq!(list(std::slice::from_ref(&half)).verdict(&http("10.0.1.0/24")), Verdict::Drops);
        assert_eq!(list(&[Rule { allows: true, ..half }]).verdict(&http("10.0.1.0/24")), Verdict::Partly);
    }

    #[test]
    fn vrrp_has_no_ports() {
        let vrrp = Packets { outbound: false, protocol: VRRP, ports: None, net: "10.0.1.0/24".parse().unwrap() };
        assert_eq!(vrrp.to_string(), "protocol 112 (VRRP) from 10.0.1.0/24");
        assert_eq!(list(&[rule(1, true, Some(VRRP), None, "10.0.0.0/16")]).verdict(&vrrp), Verdict::Passes);
        assert_eq!(list(&[rule(1, true, Some(TCP), None, "10.0.0.0/16")]).verdict(&vrrp), Verdict::Drops);
    }
}
