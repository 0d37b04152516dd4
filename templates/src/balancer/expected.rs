//! What to write for each key of a balancer file, for errors.

/// The value that `key` takes, as an operator writes it; none if the key is unknown.
pub fn of(key: &str) -> Option<&'static str> {
    Some(match key {
        "name" => "text in quotes, such as \"web\"",
        "vpc" => "an id in quotes, such as \"vpc-0a1b2c3d\"",
        "subnets" => "a list of ids, such as [\"subnet-0aaa\", \"subnet-0bbb\"]",
        "virtual_ips" => "a list of addresses, such as [\"10.255.0.10\"]",
        "instance_type" => "a type in quotes, such as \"t3.small\"",
        "image" => "\"ami-…\" or \"resolve:ssm:/path\"",
        "clients" | "metrics.clients" => "a list of CIDRs, such as [\"10.0.0.0/16\"]",
        "route_tables" => "\"all\" or a list of rtb-… ids",
        "launch" => "\"instances\" or \"auto-scaling\"",
        "agent" => "[agent] once, with source and sha256 below it",
        "agent.source" => "a URL in quotes, such as \"https://artifacts.example.com/agent\"",
        "agent.sha256" => "64 hex digits in quotes, as sha256sum prints",
        "failover" => "[failover] once, with its keys below it",
        "failover.advertisement_interval" => "a duration in quotes, such as \"200ms\"",
        "failover.drain_timeout" | "failover.replace_after" | "failover.route_check" => {
            "a duration in quotes, such as \"60s\""
        }
        "failover.preempt" | "updates.in_place" => "true or false",
        "metrics" => "[metrics] once, with clients below it",
        "updates" => "[updates] once, with in_place below it",
        "node" => "[node] once, with metadata below it",
        "node.metadata" => "\"restricted\" or \"root\"",
        "listener" => "[[listener]] in double brackets, with its keys below it",
        "listener.name" => "text in quotes, such as \"http\"",
        "listener.port" => "a number from 1 to 65535, without quotes",
        "listener.mode" => "\"http\" or \"tcp\"",
        "listener.targets" => "a list, such as [\"10.0.1.20:8080\"]",
        "listener.health_check" => "{ path = \"/healthz\", interval = \"2s\" }",
        "listener.health_check.path" => "a path in quotes, such as \"/healthz\"",
        "listener.health_check.interval" => "a duration in quotes, such as \"2s\"",
        _ => return None,
    })
}
