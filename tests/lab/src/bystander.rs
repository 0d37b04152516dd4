//! A second balancer in the same VPC, `db`. Faults of the first one must not affect it.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::observations::eligible_tables;
use crate::rig::Rig;

/// The balancer's name.
pub const NAME: &str = "db";
/// Its virtual IP and the port of its listener.
pub const VIP: &str = "10.255.0.11:80";

/// Writes its file. It lists the current route tables, so that it ignores tables added later.
pub fn file(rig: &Rig) -> Result<PathBuf> {
    let tables = eligible_tables(rig, &rig.status()?.vpc)?;
    let text = rig.lab(["example"])?;
    let text = text.replace("\"web\"", "\"db\"").replace("10.255.0.10", "10.255.0.11");
    ensure!(text.contains("name          = \"db\""), "the example has another name");
    rig.file("db.toml", &text.replacen("\n\n", &format!("\nroute_tables  = {tables:?}\n\n"), 1))
}
