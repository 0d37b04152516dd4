//! A second balancer in the same VPC, `db`, which must not notice what befalls the first.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::evidence::eligible_tables;
use crate::rig::Rig;

/// Its name.
pub const NAME: &str = "db";
/// Its virtual IP, and the port of its listener.
pub const VIP: &str = "10.255.0.11:80";

/// Its file. It keeps to the tables that there are now: what is added to the VPC is none of its business.
pub fn file(rig: &Rig) -> Result<PathBuf> {
    let tables = eligible_tables(rig, &rig.status()?.vpc)?;
    let text = rig.lab(["example"])?;
    let text = text.replace("\"web\"", "\"db\"").replace("10.255.0.10", "10.255.0.11");
    ensure!(text.contains("name          = \"db\""), "the example has another name");
    rig.file("db.toml", &text.replacen("\n\n", &format!("\nroute_tables  = {tables:?}\n\n"), 1))
}
