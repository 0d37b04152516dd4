//! What the `lab` command and the running lab say to each other: a line of JSON each way, over a Unix socket.

use std::convert::Infallible;
use std::str::FromStr;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a running lab can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// A [`Status`].
    Status,
    /// An [`Access`].
    Access,
    /// What of an example balancer depends on the lab: an [`Example`].
    Example,
    /// The id of the instance that a word stands for.
    Who {
        /// Instance, or `active`, `standby`.
        id: String,
    },
    /// The API calls so far: a list of JSON objects.
    Calls {
        /// Forget them after.
        clear: bool,
    },
    /// Stop everything, remove everything; the answer comes when it is done.
    Down,
    /// What a person tells it to do.
    #[serde(untagged)]
    Do(Order),
}

/// What a person tells a running lab to do: commands of `lab` that it does by itself, in these words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Order {
    /// Cut an instance's power: silence, and the API goes on saying `running`
    Kill {
        /// Which instance
        id: String,
    },
    /// Stop an instance as StopInstances does: its system shuts down, the API says `stopped`
    Stop {
        /// Which instance
        id: String,
    },
    /// Restart an instance's system, as RebootInstances does
    Reboot {
        /// Which instance
        id: String,
    },
    /// Drop every packet between an instance and another, the API, its metadata service, or everything but that
    Partition {
        /// Which instance
        id: String,
        /// An instance, `api`, `imds` or `all`
        from: Far,
    },
    /// Lose an availability zone: its instances' power, its target, and its way to the API
    Lose {
        /// Such as eu-west-1a
        zone: String,
    },
    /// End all partitions, and bring lost zones back but for their instances: reboot those
    Heal,
    /// Answer API calls this many milliseconds after they came; 0 ends it
    Latency {
        /// Milliseconds
        ms: u64,
    },
    /// Leave API calls without an answer for so many milliseconds; then all that came are carried out. 0 ends it
    Hang {
        /// Milliseconds
        ms: u64,
    },
    /// Answer Describe calls from the world as it was this many milliseconds ago; 0 ends it
    Stale {
        /// Milliseconds
        ms: u64,
    },
    /// Let Auto Scaling look at the health of its instances every so many milliseconds (1000; on AWS a minute or so)
    HealthChecks {
        /// Milliseconds
        ms: u64,
    },
    /// Give each API action a token bucket, as AWS does; 0 0 ends it
    Throttle {
        /// Calls that may come at once
        burst: u32,
        /// Calls a second after that
        refill: f64,
    },
    /// Let the next COUNT calls of an API action fail
    Fail {
        /// Such as ReplaceRoute
        action: String,
        /// Such as InternalError or UnauthorizedOperation
        code: String,
        /// How many; 0 ends it
        count: u32,
        /// Only calls that name an instance of this zone, or none at all: as EC2 does while a zone is disrupted
        #[arg(long)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// Stop all of an instance's processes for a while, as a live migration does
    Freeze {
        /// Which instance
        id: String,
        /// Milliseconds
        ms: u64,
    },
    /// Leave an instance so much room on its disk; as much as before without a number
    Disk {
        /// Which instance
        id: String,
        /// Free kilobytes, such as 0
        kilobytes: Option<u64>,
    },
    /// Set what an instance's metadata service answers at a path
    Imds {
        /// Which instance
        id: String,
        /// Such as spot/instance-action, below /latest/meta-data/
        path: String,
        /// What to answer; none: as before
        value: Option<String>,
    },
}

/// The running lab's answer: a value, or one line saying what is wrong.
pub type Answer = Result<Value, String>;

/// What an instance is cut off from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Far {
    /// Another instance.
    Instance(String),
    /// The AWS API.
    Api,
    /// Its metadata service.
    Imds,
    /// Everything but that.
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

/// How AWS tools get at the lab's API from this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `http://127.0.0.1:…`
    pub endpoint: String,
    /// The lab's Region.
    pub region: String,
    /// The operator's, who may do anything.
    pub access_key_id: String,
    /// The operator's.
    pub secret_access_key: String,
}

/// What of an example balancer depends on the lab.
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
    /// Where instances fetch the agent.
    pub agent_url: String,
    /// The file that is served there.
    pub agent_file: std::path::PathBuf,
}

/// The lab as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The lab's VPC.
    pub vpc: String,
    /// Instances that aren't terminated.
    pub instances: Vec<InstanceStatus>,
    /// Routes to an interface.
    pub routes: Vec<RouteStatus>,
    /// What is set to go wrong, a line each.
    pub faults: Vec<String>,
}

/// An instance as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `i-…`
    pub id: String,
    /// Its balancer, from its tags.
    pub balancer: Option<String>,
    /// Its slot, by its subnet.
    pub slot: Option<String>,
    /// Its availability zone.
    pub zone: String,
    /// Its address.
    pub address: Option<std::net::Ipv4Addr>,
    /// What the API says.
    pub api: String,
    /// What the lab knows: booting, up, off, …
    pub lab: String,
    /// What it says of itself in `elbow:role`.
    pub role: Option<String>,
    /// What it says of itself in `elbow:message`.
    pub message: Option<String>,
}

/// A route to an interface, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// `rtb-…`
    pub table: String,
    /// Its Name tag, or `main`.
    pub name: String,
    /// Where to.
    pub destination: String,
    /// The interface that it points at.
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
    fn api_and_all_are_no_instances() {
        assert_eq!("api".parse(), Ok(Far::Api));
        assert_eq!("all".parse(), Ok(Far::All));
        assert_eq!("standby".parse(), Ok(Far::Instance("standby".to_owned())));
    }
}
