//! The install step: a shell script that cloud-init runs once. It gets the agent in one of three ways, by the place where it is.

use askama::Template;

use super::render;
use crate::balancer::{AgentPlace, Balancer};
use crate::{names, paths};

#[derive(Template)]
#[template(path = "install.sh", escape = "none")]
struct Install<'a> {
    balancer: &'a Balancer,
    agent: &'static str,
    /// The file's digest. Without it, the agent is in Elbow's bucket.
    sha256: Option<&'a str>,
    /// The digests of those agents, by architecture.
    digests: Vec<(String, &'a str)>,
    url: Option<&'a str>,
    path: Option<&'a str>,
    object: Option<Object>,
}

/// An object in S3.
struct Object {
    /// Empty for Elbow's.
    bucket: String,
    key: String,
    shown: String,
}

/// The node's install step, a POSIX shell script.
pub fn install_script(balancer: &Balancer) -> String {
    let mut install = Install {
        balancer,
        agent: paths::AGENT,
        sha256: balancer.agent.as_ref().map(|agent| agent.sha256.as_str()),
        digests: Vec::new(),
        url: None,
        path: None,
        object: None,
    };
    match balancer.agent_place() {
        AgentPlace::Url(url) => install.url = Some(url),
        AgentPlace::Path(path) => install.path = Some(path),
        AgentPlace::Object { bucket, key } => {
            let shown = format!("s3://{bucket}/{key}");
            install.object = Some(Object { bucket: bucket.to_owned(), key: key.to_owned(), shown });
        }
        AgentPlace::Bucket(agents) => {
            install.digests = agents.iter().map(|(kind, digest)| (kind.to_string(), digest.as_str())).collect();
            let key = names::agent_key("$sha256");
            let shown = format!("{key} in Elbow's bucket");
            install.object = Some(Object { bucket: String::new(), key, shown });
        }
    }
    render(&install)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::{AgentSource, Agents, Architecture};

    fn script(source: Option<&str>) -> String {
        let mut balancer = Balancer::parse(include_str!("../../goldens/small/balancer.toml")).unwrap();
        balancer.agent = source.map(|source| AgentSource { source: source.to_owned(), sha256: "1".repeat(64) });
        balancer.agents = Agents::from([(Architecture::X86_64, "2".repeat(64))]);
        install_script(&balancer)
    }

    #[test]
    fn a_script_has_one_way_to_the_agent() {
        for (source, way) in [
            (Some("https://example.com/agent"), "    curl --fail "),
            (Some("/opt/image/agent"), "    cp -- \"$source\""),
            (
                Some("s3://artifacts/elbow/agent"),
                "bucket='artifacts'\nkey=\"elbow/agent\"\nshown=\"s3://artifacts/elbow/agent\"\n",
            ),
            (None, "bucket=''\nkey=\"agent/$sha256\"\n"),
        ] {
            let script = script(source);
            assert!(script.contains(way), "{way} isn't in\n{script}");
            assert_eq!(script.matches("\ndownload() ").count(), 1, "{script}");
            assert!(!script.contains("{%") && !script.contains("\n\n\n"), "{script}");
        }
    }

    #[test]
    fn a_node_picks_the_agent_of_its_architecture_and_one_without_an_agent_says_so() {
        let script = script(None);
        let case =
            format!("case $(uname -m) in\n    x86_64) sha256='{}' ;;\n    *) sha256= ;;\nesac\n", "2".repeat(64));
        assert!(script.contains(&case) && script.contains("the balancer has no agent for $(uname -m)"), "{script}");
    }
}
