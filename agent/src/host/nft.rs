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

impl Chain {
    /// Whether the chain exists and has rules.
    pub async fn is_loaded(self) -> bool {
        let listed = process::run("nft", &["-j", "list", "chain", self.family, self.table, self.name]).await;
        listed.is_ok_and(|json| has_rule(&json))
    }
}

/// libnftables-json(5): each rule is an object `rule`.
fn has_rule(json: &str) -> bool {
    json.contains("{\"rule\":")
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
}
