//! Checks the kernel's nftables with nft(8): another program may flush or delete a table.

use crate::host::process;

/// A chain of one of Elbow's tables.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    /// `ip` or `inet`
    pub family: &'static str,
    pub table: &'static str,
    pub name: &'static str,
}

/// Whether a chain has rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Rules,
    /// The chain is absent or has no rules.
    Nothing,
    /// nft couldn't be asked.
    Unknown,
}

impl Chain {
    /// What nft answers about the chain.
    pub async fn look(self) -> Found {
        match process::run("nft", &["-j", "list", "chain", self.family, self.table, self.name]).await {
            Ok(json) if has_rule(&json) => Found::Rules,
            Ok(_) => Found::Nothing,
            Err(error) if is_absent(&format!("{error:#}")) => Found::Nothing,
            Err(_) => Found::Unknown,
        }
    }
}

/// libnftables-json(5): each rule is an object `rule`.
fn has_rule(json: &str) -> bool {
    json.contains("{\"rule\":")
}

fn is_absent(error: &str) -> bool {
    error.contains("Error: No such file or directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flushed_chain_has_no_rule() {
        let empty = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"chain": {"family": "ip", "table": "elbow", "name": "arrivals"}}]}"#;
        assert!(!has_rule(empty) && !has_rule(""));
        let full = r#"{"nftables": [{"chain": {"name": "arrivals"}}, {"rule": {"family": "ip", "table": "elbow", "handle": 9, "expr": []}}]}"#;
        assert!(has_rule(full));
    }

    #[test]
    fn a_chain_is_absent_only_if_nft_says_so() {
        assert!(is_absent(
            "nft -j list chain ip elbow arrivals: exit status: 1: Error: No such file or directory; list chain"
        ));
        for unknown in [
            "running nft -j list chain ip elbow arrivals: No such file or directory (os error 2)",
            "running nft -j list chain ip elbow arrivals: Too many open files (os error 24)",
            "nft -j list chain ip elbow arrivals: still running after 40 s",
        ] {
            assert!(!is_absent(unknown), "{unknown}");
        }
    }
}
