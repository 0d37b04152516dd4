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
        "agent.source" => "a URL or a path in quotes, such as \"https://artifacts.example.com/agent\"",
        "agent.sha256" => "64 hex digits in quotes, as sha256sum prints",
        "failover" => "[failover] once, with its keys below it",
        "failover.advertisement_interval" => "a duration in quotes, such as \"200ms\"",
        "failover.drain_timeout" | "failover.replace_after" | "failover.route_check" => {
            "a duration in quotes, such as \"60s\""
        }
        "failover.preempt" | "updates.in_place" => "true or false",
        "metrics" => "[metrics] once, with clients below it",
        "logs" => "[logs] once, with syslog below it",
        "logs.syslog" => "a host and a port in quotes, such as \"logs.example.com:514\"",
        "updates" => "[updates] once, with in_place below it",
        "node" => "[node] once, with its keys below it",
        "node.metadata" => "\"restricted\" or \"root\"",
        "node.security_groups" => "a list of ids, such as [\"sg-0a1b2c3d\"]",
        "volume" => "[volume] once, with its keys below it",
        "volume.device" => "a device name in quotes, such as \"/dev/xvda\"",
        "volume.size" => "a number of GiB from 1 to 65536, without quotes",
        "volume.kms_key" => "the ARN of a key in quotes",
        "iam" => "[iam] once, with its keys below it",
        "iam.role" | "iam.instance_profile" => "a name in quotes, such as \"web-nodes\"",
        "iam.path" => "a path in quotes, such as \"/elbow/\"",
        "iam.permissions_boundary" => "the ARN of a policy in quotes",
        "tags" => "[tags] once, with keys and values below it, such as CostCenter = \"4711\"",
        "listener" => "[[listener]] in double brackets, with its keys below it",
        "listener.name" => "text in quotes, such as \"http\"",
        "listener.port" => "a number from 1 to 65535, without quotes",
        "listener.protocol" | "target_group.protocol" => "\"http\" or \"tcp\"",
        "listener.ports" => "the first and the last port in quotes, such as \"40000-40099\"",
        "listener.targets" | "target_group.targets" => "a list, such as [\"10.0.1.20:8080\"]",
        "listener.health_check" | "target_group.health_check" => "{ path = \"/healthz\", interval = \"2s\" }",
        "listener.forward" | "listener.rule.forward" => {
            "the name of a target group, or several with their weights, such as { blue = 90, green = 10 }"
        }
        "listener.redirect" | "listener.rule.redirect" => "{ scheme = \"https\", status = 301 }",
        "listener.respond" | "listener.rule.respond" => "{ status = 403, body = \"no\" }",
        "listener.rate_limit" => "{ requests = 100, per = \"10s\" }",
        "listener.response_headers" => "{ Strict-Transport-Security = \"max-age=31536000\", Server = \"\" }",
        "listener.clients" | "listener.proxy_protocol_from" => "a list of CIDRs, such as [\"10.0.0.0/16\"]",
        "listener.forwarded_for" => "\"append\", \"append-with-port\", \"preserve\" or \"remove\"",
        "listener.rate_limit.requests" => "a number from 1 to 1000000, without quotes",
        "listener.rule" => "[[listener.rule]] in double brackets, below its listener",
        "listener.rule.if" => "{ host = [\"api.example.com\"], path = [\"/v1/*\"] }",
        "listener.rule.if.header" => "{ X-Canary = [\"yes\"] }",
        "listener.rule.if.query" => "{ version = [\"2\"] }",
        "listener.rule.rewrite.host" => "a host in quotes, such as \"api.internal\"",
        "listener.rule.rewrite.query" => "text in quotes, such as \"v=1\"",
        "listener.rule.rewrite" => "{ path = [\"^/v1/(.*)$\", '/\\1'] }",
        "listener.rule.rewrite.path" => {
            "a regular expression and what replaces its match, such as [\"^/v1/(.*)$\", '/\\1']"
        }
        "target_group.balance" => "\"round-robin\", \"least-connections\", \"random\" or \"source\"",
        "target_group.when_unhealthy" => "\"fail-open\" or \"fail-closed\"",
        "target_group.connections_per_target" => "a number from 1 to 1000000, without quotes",
        "target_group.minimum_healthy" => "a number of targets, without quotes",
        "target_group" => "[[target_group]] in double brackets, with its keys below it",
        "target_group.sticky" => "{ cookie = \"ELBOW\", for = \"1h\" }",
        "haproxy" => "[haproxy] once, with its keys below it",
        "haproxy.max_connections" => "a number from 100 to 250000, without quotes",
        "haproxy.max_request_headers" => "a size in quotes, such as \"64KB\"",
        "haproxy.extra" => "the path of a file, such as \"extra.cfg\"",
        _ if key.starts_with("tags.") => "text in quotes, such as \"4711\"",
        _ => return of_last(key),
    })
}

/// For keys that several tables have.
fn of_last(key: &str) -> Option<&'static str> {
    if !key.starts_with("listener.") && !key.starts_with("target_group.") {
        return None;
    }
    Some(match key.rsplit('.').next().unwrap_or(key) {
        _ if key.contains(".if.header.") || key.contains(".if.query.") => "a list, such as [\"…\"]",
        _ if key.contains(".response_headers.") => "text in quotes, such as \"no-store\"",
        _ if key.contains(".forward.") => "a number from 0 to 999, without quotes",
        "healthy" | "unhealthy" => "a number from 1 to 10, without quotes",
        "weight" => "a number from 0 to 256, without quotes",
        "port" => "a number from 1 to 65535, without quotes",
        "status" if key.ends_with("redirect.status") => "301, 302, 303, 307 or 308, without quotes",
        "status" if key.ends_with("respond.status") => "a number from 200 to 599, without quotes",
        "scheme" => "\"http\" or \"https\"",
        "query" | "content_type" | "body" | "cookie" | "app_cookie" => "text in quotes",
        "path" if key.contains("redirect.") => "text in quotes, such as \"/new/#{path}\"",
        "host" if !key.contains(".if.") => "a host in quotes, such as \"api.example.com\"",
        "address" => "an address with its port in quotes, such as \"10.0.1.20:8080\"",
        "interval"
        | "timeout"
        | "idle_timeout"
        | "forward_sticky"
        | "keep_alive"
        | "per"
        | "for"
        | "slow_start"
        | "deregistration_delay" => "a duration in quotes, such as \"2s\"",
        "status" if key.ends_with("health_check.status") => "codes in quotes, such as \"200-299,301\"",
        "path" if key.ends_with("health_check.path") => "a path in quotes, such as \"/healthz\"",
        "host" | "path" | "method" | "source" if key.contains(".if.") => "a list, such as [\"…\"]",
        "proxy_protocol" | "retry" | "close_when_deregistered" | "close_on_unhealthy" | "backup" => "true or false",
        "name" => "text in quotes, such as \"http\"",
        _ => return None,
    })
}
