//! The environment of `lab env` and the file of `lab example`.

use std::path::Path;

use super::protocol::{Access, Example};

impl Access {
    /// Environment variables that point the AWS CLI and SDKs at the lab, without the caller's profiles or a metadata
    /// service.
    pub fn environment(&self, tools: &Path, path: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("AWS_SESSION_TOKEN", String::new()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_PAGER", String::new()),
            // The lab is on this machine: no HTTP proxy leads to it.
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("PATH", with_tools(tools, path)),
        ]
    }
}

/// The path with the lab's tools first, and only once, so that `eval "$(lab env)"` can be repeated.
fn with_tools(tools: &Path, path: &str) -> String {
    let tools = tools.display().to_string();
    let others = path.split(':').filter(|&entry| entry != tools);
    std::iter::once(tools.as_str()).chain(others).collect::<Vec<_>>().join(":")
}

impl Example {
    /// A balancer.toml. `name`, `virtual_ips` and `targets` are on one line each, so that sed can change them.
    /// With a digest, nodes get the agent by the URL; otherwise from the bucket.
    pub fn toml(&self, agent_sha256: Option<&str>) -> String {
        let agent = agent_sha256
            .map(|sha256| format!("[agent]\nsource = {:?}\nsha256 = {sha256:?}\n\n", self.agent_url))
            .unwrap_or_default();
        let list = |items: &[String]| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ");
        format!(
            r#"name          = "web"
vpc           = "{vpc}"
subnets       = [{subnets}]
virtual_ips   = ["10.255.0.10"]
instance_type = "t3.small"
image         = "{image}"

{agent}[[listener]]
name = "http"
port = 80
protocol = "http"
targets = [{targets}]
health_check = {{ path = "/healthz", interval = "2s" }}
"#,
            vpc = self.vpc,
            subnets = list(&self.subnets),
            image = self.image,
            targets = list(&self.targets),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_stand_in_the_path_once() {
        let once = with_tools(Path::new("/venv/bin"), "/usr/bin:/bin");
        assert_eq!(once, "/venv/bin:/usr/bin:/bin");
        assert_eq!(with_tools(Path::new("/venv/bin"), &once), once);
    }

    #[test]
    fn the_example_is_a_balancer() {
        let example = Example {
            vpc: "vpc-0a1b2c3d".into(),
            subnets: vec!["subnet-0a".into(), "subnet-0b".into()],
            image: "resolve:ssm:/aws/service/elbow-lab/debian-12".into(),
            targets: vec!["10.0.1.20:8080".into(), "10.0.2.20:8080".into()],
            agent_url: "https://downloads.elbow.test/agent".into(),
            agent_file: "/target/release/agent".into(),
        };
        let by_url = templates::Balancer::parse(&example.toml(Some(&"0".repeat(64)))).unwrap();
        assert_eq!(by_url.agent.unwrap().source, example.agent_url);
        let text = example.toml(None);
        let balancer = templates::Balancer::parse(&text).unwrap();
        assert_eq!((balancer.name.as_str(), balancer.agent), ("web", None));
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((count("name          = "), count("virtual_ips"), count("targets = [")), (1, 1, 1));
    }
}
