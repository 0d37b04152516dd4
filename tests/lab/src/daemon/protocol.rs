//! The protocol between the `lab` command and the running lab: one line of JSON each way, over a Unix socket.

use std::convert::Infallible;
use std::str::FromStr;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request to the running lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    Status,
    Access,
    Example,
    /// The ID of the instance that a word stands for.
    Who {
        /// Instance ID, `active` or `standby`.
        id: String,
    },
    /// The API calls so far: a list of JSON objects.
    Calls {
        /// Clear the record afterwards.
        clear: bool,
    },
    /// Stop and remove everything; the answer follows when that is done.
    Down,
    #[serde(untagged)]
    Do(Order),
}

/// The commands of `lab` that the running lab carries out, with their command-line names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Order {
    /// Cut an instance's power: it sends nothing more, and the API still shows `running`
    Kill {
        /// The instance
        id: String,
    },
    /// Stop an instance with StopInstances: its system shuts down, the API shows `stopped`
    Stop {
        /// The instance
        id: String,
    },
    /// Restart an instance's system, like RebootInstances
    Reboot {
        /// The instance
        id: String,
    },
    /// Drop all packets between an instance and another instance, the API, its metadata service, or all but that
    /// service
    Partition {
        /// The instance
        id: String,
        /// An instance, `api`, `imds` or `all`
        from: Far,
    },
    /// Lose an availability zone: its instances lose power, its target and its API address become unreachable
    Lose {
        /// The zone, such as eu-west-1a
        zone: String,
    },
    /// End all partitions and zone losses; instances of a lost zone stay without power until `lab reboot`
    Heal,
    /// Delay each API answer until this many milliseconds after its request; 0 ends it
    Latency {
        /// Milliseconds
        ms: u64,
    },
    /// Hold all API calls for this many milliseconds, then carry them out; 0 ends it
    Hang {
        /// Milliseconds
        ms: u64,
    },
    /// Answer Describe calls from the state of this many milliseconds ago; 0 ends it
    Stale {
        /// Milliseconds
        ms: u64,
    },
    /// Set how often Auto Scaling checks the health of its instances (default: 1000; on AWS about a minute)
    HealthChecks {
        /// Milliseconds
        ms: u64,
    },
    /// Throttle each API action with a token bucket, like AWS; `0 0` ends it
    Throttle {
        /// Calls that are allowed at once
        burst: u32,
        /// Calls per second that are allowed after the burst
        refill: f64,
    },
    /// Fail the next COUNT calls of an API action
    Fail {
        /// The action, such as ReplaceRoute
        action: String,
        /// The error code, such as InternalError or UnauthorizedOperation
        code: String,
        /// Number of calls; 0 ends it
        count: u32,
        /// Fail only calls that name an instance in this zone, or no instance; EC2 does so while a zone is disrupted
        #[arg(long)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// Freeze all processes of an instance for a while, like a live migration
    Freeze {
        /// The instance
        id: String,
        /// Milliseconds
        ms: u64,
    },
    /// Limit the free space on an instance's disk; without a number, restore it
    Disk {
        /// The instance
        id: String,
        /// Free kilobytes
        kilobytes: Option<u64>,
    },
    /// Set the answer of an instance's metadata service at a path
    Imds {
        /// The instance
        id: String,
        /// Path below /latest/meta-data/, such as spot/instance-action
        path: String,
        /// The answer; without it, the original answer returns
        value: Option<String>,
    },
}

/// The running lab's answer: a value, or an error in one line.
pub type Answer = Result<Value, String>;

/// The other side of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Far {
    /// Another instance.
    Instance(String),
    /// The AWS API.
    Api,
    /// Its metadata service.
    Imds,
    /// Everything but the metadata service.
    All,
}

impl FromStr for Far {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Far, Infallible> {
        Ok(match text {
            "api" => Far::Api,
            "imds" => Far::Imds,
            "all" => Far::All,
            id => Far::Instance(id.to_owned()),
        })
    }
}

/// The endpoint and credentials for AWS tools on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `http://127.0.0.1:…`
    pub endpoint: String,
    /// The lab's Region.
    pub region: String,
    /// The operator's access key, which may do anything.
    pub access_key_id: String,
    /// The operator's secret key.
    pub secret_access_key: String,
}

/// The values of an example balancer that depend on the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The lab's VPC.
    pub vpc: String,
    /// The private subnets, one in each of two zones.
    pub subnets: Vec<String>,
    /// `resolve:ssm:…`
    pub image: String,
    /// The backend targets, `address:port`.
    pub targets: Vec<String>,
    /// The URL from which instances download the agent.
    pub agent_url: String,
    /// The file that is served at the URL.
    pub agent_file: std::path::PathBuf,
}

/// The lab's current state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The lab's VPC.
    pub vpc: String,
    /// Instances that aren't terminated.
    pub instances: Vec<InstanceStatus>,
    /// Routes to an interface.
    pub routes: Vec<RouteStatus>,
    /// The faults that are set, one line each.
    pub faults: Vec<String>,
}

/// An instance's current state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `i-…`
    pub id: String,
    /// Its balancer, from its tags.
    pub balancer: Option<String>,
    /// Its slot, from its subnet.
    pub slot: Option<String>,
    /// Its availability zone.
    pub zone: String,
    pub address: Option<std::net::Ipv4Addr>,
    /// The instance state in the API.
    pub api: String,
    /// The state in the lab: booting, up, off, …
    pub lab: String,
    /// Its report tag `elbow:role`.
    pub role: Option<String>,
    /// Its report tag `elbow:message`.
    pub message: Option<String>,
}

/// A route to an interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// `rtb-…`
    pub table: String,
    /// Its Name tag, or `main`.
    pub name: String,
    /// The destination CIDR block.
    pub destination: String,
    /// The interface that it leads to.
    pub interface: Option<String>,
    /// The instance with that interface.
    pub instance: Option<String>,
    /// `active` or `blackhole`.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_as_written() {
        let request = Request::Do(Order::Partition { id: "active".into(), from: Far::Instance("i-1".into()) });
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"ask":"partition","id":"active","from":{"instance":"i-1"}}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        assert_eq!(serde_json::from_str::<Request>(r#"{"ask":"down"}"#).unwrap(), Request::Down);
    }

    #[test]
    fn api_and_all_are_not_instances() {
        assert_eq!("api".parse(), Ok(Far::Api));
        assert_eq!("all".parse(), Ok(Far::All));
        assert_eq!("standby".parse(), Ok(Far::Instance("standby".to_owned())));
    }
}
