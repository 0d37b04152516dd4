//! The command line of `render`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use templates::{Slot, names};

/// The file to print.
#[derive(Debug, Subcommand)]
pub enum Render {
    /// A node's user-data (cloud-config)
    UserData {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
        /// Write gzip-compressed user-data, as the launcher passes it to EC2
        #[arg(long)]
        gzip: bool,
    },
    /// A launch template for an Auto Scaling group of your own: JSON for `aws ec2 create-launch-template
    /// --cli-input-json` (docs/auto-scaling.md). Needs --region or AWS_REGION
    LaunchTemplate {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
        /// The nodes' security group id
        #[arg(long, value_name = "SG", value_parser = security_group)]
        security_group: String,
    },
    /// The install script that a node runs at its first boot
    Install {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
    },
    /// The agent's systemd unit
    Unit {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
    },
    /// A node's haproxy.cfg
    Haproxy {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
        /// The node's slot, and the addresses of all nodes, which the file needs if the nodes share stick tables
        #[command(flatten)]
        node: NodeArgs,
        /// The node's memory, such as 4GiB or 3900MB, which sets the number of connections; default: 2GiB, a t3.small's
        #[arg(long, value_name = "SIZE", value_parser = memory)]
        memory: Option<u32>,
    },
    /// A node's keepalived.conf
    Keepalived {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
        /// The node's slot, and the addresses of all nodes
        #[command(flatten)]
        node: NodeArgs,
        /// The name of the node's network interface
        #[arg(long, default_value = "eth0", value_name = "NAME", value_parser = interface)]
        interface: String,
    },
    /// The permission policy of the nodes' IAM role (JSON). Needs --region or AWS_REGION
    Policy {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
    },
    /// The least IAM policy of an operator who runs the launcher for this balancer (JSON). Needs --region or AWS_REGION
    OperatorPolicy {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
    },
    /// The trust policy of the nodes' IAM role (JSON)
    TrustPolicy {
        /// The balancer file (TOML), or - for standard input
        file: PathBuf,
    },
}

/// A node's slot, and the addresses of all nodes.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's slot
    #[arg(long, default_value = "0", value_name = "N")]
    pub slot: Slot,
    /// The addresses of all nodes, one for each subnet, in slot order
    #[arg(long, value_delimiter = ',', value_name = "IP,IP")]
    pub members: Vec<Ipv4Addr>,
}

fn security_group(text: &str) -> Result<String, String> {
    match names::is_security_group(text) {
        true => Ok(text.to_owned()),
        false => Err("not a security group id: write sg-…".to_owned()),
    }
}

/// Accepts what the kernel accepts (15 bytes, no /), without characters that keepalived interprets.
fn interface(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=15).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => {
            Err("not a network interface name: write up to 15 letters, digits, ., _ and -, such as eth0".to_owned())
        }
    }
}

/// A smaller machine doesn't run a node: HAProxy gets half of the memory.
const LEAST_MB: u32 = 256;

/// In MB.
fn memory(text: &str) -> Result<u32, String> {
    let wrong = || "not a size of memory: write a number and MB or GiB, such as 4GiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "MB" | "MiB" => 1,
        "GB" | "GiB" => 1024,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(scale).ok_or_else(wrong)? {
        small if small < LEAST_MB => Err(format!(
            "too small for a node: the kernel, the agent and keepalived take half of it; write at least {LEAST_MB}MB"
        )),
        mb => Ok(mb),
    }
}

#[cfg(test)]
mod tests {
    use super::memory;

    #[test]
    fn memory_has_a_unit_and_holds_a_node() {
        for (text, mb) in [("4GiB", 4096), ("2GB", 2048), ("3900MB", 3900), ("512MiB", 512), ("256MB", 256)] {
            assert_eq!(memory(text), Ok(mb));
        }
        for text in ["", "GiB", "4", "1024", "-1", "4 GiB", "4TiB", "1.5GiB", "4194304GiB", "99999999999"] {
            let said = memory(text).unwrap_err();
            assert!(said.contains("write a number and MB or GiB"), "{text}: {said}");
        }
        for text in ["0MB", "1MB", "255MB", "0GiB"] {
            let said = memory(text).unwrap_err();
            assert!(said.contains("write at least 256MB"), "{text}: {said}");
        }
    }
}
