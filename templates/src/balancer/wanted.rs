//! What to write for a key, for whoever wrote a value of another kind there.

/// What belongs there, as one writes it; none if nobody knows the key.
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
        "agent" => "[agent], once, and below it source and sha256",
        "agent.source" => "an address in quotes, such as \"https://artifacts.example.com/agent\"",
        "agent.sha256" => "64 hex digits in quotes, as sha256sum prints",
        "failover" => "[failover], once, and below it its keys",
        "failover.advertisement_interval" => "a duration in quotes, such as \"200ms\"",
        "failover.drain_timeout" | "failover.replace_after" => "a duration in quotes, such as \"60s\"",
        "failover.preempt" | "updates.in_place" => "true or false",
        "metrics" => "[metrics], once, and below it clients",
        "updates" => "[updates], once, and below it in_place",
        "node" => "[node], once, and below it metadata",
        "node.metadata" => "\"restricted\" or \"root\"",
        "listener" => "[[listener]], with two brackets, and below it its keys",
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
