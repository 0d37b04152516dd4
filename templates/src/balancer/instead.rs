//! What to write instead of keys and values that ELB, or an earlier Elbow, has and this one doesn't.

/// What to write instead of the unknown `key` (its table's path with dots), if Elbow knows the key's idea.
pub fn of_key(key: &str) -> Option<&'static str> {
    let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
    Some(match (table, key) {
        ("", "role" | "instance_profile" | "iam_role" | "iam_path" | "permissions_boundary") => {
            "unknown key; write [iam] with role, instance_profile, path or permissions_boundary below it"
        }
        ("", "security_groups") => "unknown key; write security_groups in [node], for groups beside Elbow's own",
        ("listener", "mode") => "unknown key; write protocol = \"http\" or \"tcp\"",
        (
            "listener",
            "certificates"
            | "certificate"
            | "certificate_arn"
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
        ("target_group", "port") => "unknown key; write each target with its port, such as \"10.0.1.20:8080\"",
        ("target_group", "zones" | "cross_zone") => "unknown key; every node uses the targets of all zones",
        _ => return None,
    })
}

/// What to write instead of the value of `key` (with dots), as it is in the text.
pub fn of_value(key: &str, value: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    Some(match (last, value.trim_matches(['"', '\''])) {
        ("protocol", "https" | "tls" | "HTTPS" | "TLS") if !key.contains("health_check") => {
            "Elbow neither terminates TLS nor speaks it to targets; write \"tcp\", and let the targets terminate it"
        }
        ("protocol", "udp" | "tcp_udp" | "quic" | "UDP" | "TCP_UDP") => {
            "HAProxy balances no UDP; write \"http\" or \"tcp\""
        }
        ("protocol", "h2c" | "grpc") => {
            "HAProxy speaks HTTP/1.1 to targets; write \"http\", or \"tcp\" to pass HTTP/2 on"
        }
        ("port", "#{port}") if key.ends_with("redirect.port") => {
            "write a number, or leave port out to keep it; with a scheme, it is the scheme's then"
        }
        ("targets", table) if table.starts_with('{') => {
            "Elbow looks no targets up by Auto Scaling group, tag or DNS name; write a list, such as [\"10.0.1.20:8080\"]"
        }
        _ => return None,
    })
}
