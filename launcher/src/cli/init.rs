//! The command line of `init`.

use std::net::Ipv4Addr;

use clap::Args;
use templates::balancer::{Address, Protocol};

/// Print a balancer file for this account: VPC, subnets and virtual IP are chosen.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  launcher init --target 10.0.1.20:8080 --target 10.0.2.20:8080 > web.toml
  launcher init --protocol tcp --target 10.0.1.30:5432 --name db > db.toml

Asks nothing and changes nothing. The file goes to standard output, and what was chosen and why to standard \
error. The VPC is the one that holds the targets. The subnets are private, in distinct zones, preferably with a way to \
the EC2 API. The virtual IP lies outside of every network of the account's VPCs, peerings, routes, transit \
gateways and balancers.")]
pub struct Init {
    /// Where requests go: an address and a port. May be repeated
    #[arg(long = "target", value_name = "IP:PORT", value_parser = target)]
    pub targets: Vec<Address>,
    /// The balancer's name; default: web, or web-2 and so on
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The VPC; default: the one that holds the targets
    #[arg(long, value_name = "VPC")]
    pub vpc: Option<String>,
    /// A subnet for a node, in the order of the slots. May be repeated
    #[arg(long = "subnet", value_name = "SUBNET")]
    pub subnets: Vec<String>,
    /// The virtual IP
    #[arg(long, value_name = "IP")]
    pub virtual_ip: Option<Ipv4Addr>,
    /// The listener's protocol: http or tcp
    #[arg(long, default_value = "http", value_name = "PROTOCOL", value_parser = protocol)]
    pub protocol: Protocol,
    /// The listener's port; default: 80 for http, the first target's for tcp
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub port: Option<u16>,
    /// Where nodes get the agent; default: a bucket that create makes
    #[arg(long, value_name = "URL", requires = "agent_sha256")]
    pub agent_url: Option<String>,
    /// The agent's SHA-256, as sha256sum prints it
    #[arg(long, value_name = "HEX", requires = "agent_url")]
    pub agent_sha256: Option<String>,
}

fn target(text: &str) -> Result<Address, String> {
    let address = text.parse::<Address>().ok().filter(|address| address.port.is_some_and(|port| port != 0));
    address.ok_or_else(|| "not an address and a port, such as 10.0.1.20:8080".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| "not a number from 1 to 65535".to_owned())
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http" => Ok(Protocol::Http),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err("write http or tcp".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!((super::port("1"), super::port("65535")), (Ok(1), Ok(65535)));
        for text in ["", "0", "70000", "-1", "http"] {
            assert_eq!(super::port(text), Err("not a number from 1 to 65535".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_target_has_a_port() {
        assert_eq!(super::target("10.0.1.20:8080").map(|target| target.to_string()), Ok("10.0.1.20:8080".to_owned()));
        for text in ["", "10.0.1.20", "10.0.1.20:0", "10.0.1.20:http", "web:80", ":80"] {
            assert!(super::target(text).is_err(), "{text}");
        }
    }
}
