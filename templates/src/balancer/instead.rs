//! What to write instead of keys and values that ELB, or an earlier Elbow, has and this one doesn't.

use super::expected;

/// What to write instead of the unknown `key` (its table's path with dots), if Elbow knows the key's idea.
pub fn of_key(key: &str) -> Option<&'static str> {
    let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
    Some(match (table, key) {
        ("", "role" | "instance_profile" | "iam_role" | "iam_path" | "permissions_boundary") => {
            "unknown key; write [iam] with role, instance_profile, path or permissions_boundary below it"
        }
        ("", "webhook") => "unknown key; write [notify] with webhook below it",
        ("", "vpc_id") => "unknown key; write vpc",
        ("", "scheme" | "internal") => "unknown key; remove it: every balancer is internal",
        ("", "access_logs") => "unknown key; write [logs] with syslog below it",
        ("", "enable_deletion_protection" | "deletion_protection") => {
            "unknown key; remove it: only `launcher destroy` deletes a balancer"
        }
        ("", "security_groups") => "unknown key; write security_groups in [node], for groups beside Elbow's own",
        ("listener", "mode") => "unknown key; write protocol = \"http\" or \"tcp\"",
        (
            "listener",
            "certificates"
            | "certificate"
            | "certificate_arn"
            | "ssl_certificate"
            | "ssl_certificate_id"
            | "tls_policy"
            | "ssl_policy"
            | "alpn_policy"
            | "client_certificates"
            | "mutual_authentication",
        ) => {
            "unknown key; Elbow doesn't terminate TLS, and can't use a certificate of ACM, as AWS gives its key to no one: \
             write protocol = \"tcp\", and let the targets terminate TLS"
        }
        (
            "listener",
            "balance"
            | "sticky"
            | "deregistration_delay"
            | "slow_start"
            | "connections_per_target"
            | "proxy_protocol"
            | "retry"
            | "close_when_deregistered"
            | "close_on_unhealthy"
            | "when_unhealthy"
            | "minimum_healthy",
        ) => {
            "unknown key; it belongs to a target group: write [[target_group]] with a name, targets and this key, and \
             forward = \"its name\" here"
        }
        ("listener" | "listener.rule", "priority") => "unknown key; rules are tried in the order of the file",
        ("listener.rule" | "listener.rule.if", "host_header") => {
            "unknown key; write if = { host = [\"api.example.com\"] }"
        }
        ("listener.rule" | "listener.rule.if", "path_pattern") => "unknown key; write if = { path = [\"/api/*\"] }",
        ("listener.rule" | "listener.rule.if", "http_header") => {
            "unknown key; write if = { header = { X-Canary = [\"yes\"] } }"
        }
        ("listener.rule" | "listener.rule.if", "query_string") => {
            "unknown key; write if = { query = { version = [\"2\"] } }"
        }
        ("listener.rule" | "listener.rule.if", "http_request_method") => {
            "unknown key; write if = { method = [\"GET\"] }"
        }
        ("listener.rule" | "listener.rule.if", "source_ip") => "unknown key; write if = { source = [\"10.9.0.0/16\"] }",
        ("listener.rule", "conditions" | "condition") => "unknown key; write if = { path = [\"/api/*\"] }",
        (
            "listener" | "listener.rule",
            "action" | "actions" | "default_action" | "default_actions" | "target_group",
        ) => "unknown key; write one of forward, redirect and respond",
        ("listener" | "listener.rule", "fixed_response") => {
            "unknown key; write respond = { status = 403, body = \"no\" }"
        }
        ("listener" | "target_group", "stickiness") => "unknown key; write sticky in a [[target_group]]",
        ("target_group", "matcher") | ("target_group.health_check" | "listener.health_check", "matcher") => {
            "unknown key; write health_check = { status = \"200-299\" }"
        }
        (
            "target_group" | "target_group.health_check" | "listener" | "listener.health_check",
            "healthy_threshold" | "unhealthy_threshold" | "healthy_threshold_count" | "unhealthy_threshold_count",
        ) => "unknown key; write health_check = { healthy = 2, unhealthy = 3 }",
        ("target_group", "vpc_id" | "vpc") => "unknown key; remove it: all targets are reached from the balancer's vpc",
        ("target_group", "target_type") => "unknown key; remove it: targets are addresses",
        ("target_group", "load_balancing_algorithm_type" | "algorithm") => {
            "unknown key; write balance = \"round-robin\", \"least-connections\", \"random\" or \"source\""
        }
        ("target_group", "preserve_client_ip") => {
            "unknown key; targets see a node's address: write proxy_protocol = true, or read X-Forwarded-For with HTTP"
        }
        ("target_group", "port") => "unknown key; write each target with its port, such as \"10.0.1.20:8080\"",
        (
            "" | "listener" | "target_group",
            "zones" | "cross_zone" | "enable_cross_zone_load_balancing" | "load_balancing_cross_zone_enabled",
        ) => "unknown key; every node uses the targets of all zones",
        _ => return None,
    })
}

/// The tables that a file has once.
const TABLES: [&str; 7] = ["failover", "haproxy", "iam", "logs", "node", "updates", "volume"];

/// The table that has this key, if it is unknown at the top.
pub fn table_of(key: &str) -> Option<&'static str> {
    TABLES.into_iter().find(|table| expected::of(&format!("{table}.{key}")).is_some())
}

/// What to write instead of the value of `key` (with dots), as it is in the text.
pub fn of_value(key: &str, value: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    Some(match (last, value.trim_matches(['"', '\''])) {
        ("protocol", "https" | "tls" | "HTTPS" | "TLS") if !key.contains("health_check") => {
            "Elbow neither terminates TLS nor speaks it to targets; write \"tcp\", and let the targets terminate it"
        }
        ("protocol", "HTTP" | "TCP" | "HTTPS") => "write it in small letters, such as \"http\"",
        ("protocol", "udp" | "tcp_udp" | "quic" | "UDP" | "TCP_UDP") => {
            "HAProxy balances no UDP; write \"http\" or \"tcp\""
        }
        ("protocol", "h2c" | "grpc") => {
            "HAProxy speaks HTTP/1.1 to targets; write \"http\", or \"tcp\" to pass HTTP/2 on"
        }
        ("port", "#{port}") if key.ends_with("redirect.port") => {
            "write a number, or leave port out to keep it; with a scheme, it is the scheme's then"
        }
        ("targets" | "address", id) if id.starts_with("i-") => {
            "Elbow looks no instances up; list addresses, such as [\"10.0.1.20:8080\"]"
        }
        ("clients" | "source" | "proxy_protocol_from", id) if id.starts_with("sg-") => {
            "clients are CIDRs, such as [\"10.0.0.0/16\"]; a security group can't be named here"
        }
        ("targets", table) if table.starts_with('{') => {
            "Elbow looks no targets up by Auto Scaling group, tag or DNS name; write a list, such as [\"10.0.1.20:8080\"]"
        }
        _ => return None,
    })
}
