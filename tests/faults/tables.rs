//! Other programs add and delete route tables, and delete and redirect routes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::observations::{interface_of, text};
use lab::rig::wait_for;

use crate::stage::{BOOT, Stage, play};

pub const VIP: &str = "10.255.0.10/32";
/// A route that another program changed is repaired within this time.
pub const LIMIT: Duration = Duration::from_secs(35);

impl Stage {
    /// Creates a route table in the VPC.
    fn new_table(&self) -> Result<String> {
        let vpc = self.rig.status()?.vpc;
        text(&self.rig.aws(["ec2", "create-route-table", "--vpc-id", &vpc])?["RouteTable"]["RouteTableId"])
    }

    fn delete_table(&self, table: &str) -> Result<()> {
        self.rig.aws(["ec2", "delete-route-table", "--route-table-id", table]).map(drop)
    }

    /// Associates a table with the internet gateway; returns the association for [`Stage::disassociate`].
    fn associate(&self, table: &str) -> Result<String> {
        let query = "InternetGateways[0].InternetGatewayId";
        let gateway = text(&self.rig.aws(["ec2", "describe-internet-gateways", "--query", query])?)?;
        let what = ["associate-route-table", "--route-table-id", table, "--gateway-id", &gateway];
        text(&self.rig.aws(["ec2"].iter().chain(&what))?["AssociationId"])
    }

    fn disassociate(&self, association: &str) -> Result<()> {
        self.rig.aws(["ec2", "disassociate-route-table", "--association-id", association]).map(drop)
    }

    /// Fails unless the route in `table` leads to the node `to`.
    pub fn is_routed(&self, table: &str, to: &str) -> Result<()> {
        let routes = self.routes()?;
        ensure!(routes.iter().any(|(at, node)| at == table && node == to), "{table} has no route to {to}: {routes:?}");
        Ok(())
    }
}

#[test]
fn a_route_that_is_deleted_or_redirected_is_repaired_within_35_s() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let tables: BTreeMap<String, String> =
            stage.rig.status()?.routes.into_iter().map(|route| (route.name, route.table)).collect();
        let table = |name: &str| tables.get(name).cloned().with_context(|| format!("no table {name} has a route"));
        let own = interface_of(&stage.rig, &standby)?;
        let theirs = stage.rig.status()?.routes.into_iter().find(|route| route.destination == "10.255.9.9/32");
        let theirs = theirs.and_then(|route| route.interface).context("the seed has no appliance")?;

        let watch = stage.watch()?;
        let replace = |table: &str, interface: &str| {
            let what = ["replace-route", "--route-table-id", table, "--network-interface-id", interface];
            stage.rig.aws(["ec2"].iter().chain(&what).chain(&["--destination-cidr-block", VIP]))
        };
        let (main, a, b) = (table("main")?, table("private-a")?, table("private-b")?);
        stage.rig.aws(["ec2", "delete-route", "--route-table-id", &main, "--destination-cidr-block", VIP])?;
        replace(&a, &theirs)?;
        replace(&b, &own)?;
        let damaged = Instant::now();
        for (table, damage) in [(&main, "deleted"), (&a, "led to a stranger"), (&b, "led to the standby")] {
            wait_for("the repair of the route", BOOT, || stage.is_routed(table, &active))?;
            let time = damaged.elapsed();
            stage.rig.figure(&format!("a route that was {damage}: right again within"), format!("{time:.0?}"))?;
            ensure!(time <= LIMIT, "the repair took {time:.0?}");
        }
        ensure!(stage.serving_nodes(BOOT)? == active, "another node is active");
        watch.served(BOOT)?;
        watch.end("routes deleted and redirected by another program")?.at_most(LIMIT)
    })
}

#[test]
fn a_table_that_is_added_gets_the_route_within_35_s_and_a_gateways_table_never() -> Result<()> {
    play(|stage| {
        let (active, _) = stage.pair()?;
        // The active node must not read the tables between the two calls: it would create the route, and AWS would
        // refuse the association.
        stage.rig.lab(["fail", "DescribeRouteTables", "InternalError", "1000"])?;
        let gateways = stage.new_table()?;
        let association = stage.associate(&gateways)?;
        stage.rig.lab(["fail", "DescribeRouteTables", "InternalError", "0"])?;
        let added = stage.new_table()?;
        let watch = stage.watch()?;
        let began = Instant::now();
        wait_for("the route in the new table", BOOT, || stage.is_routed(&added, &active))?;
        let time = began.elapsed();
        stage.rig.figure("a table that is added: right within", format!("{time:.0?}"))?;
        ensure!(time <= LIMIT, "the route took {time:.0?}");
        ensure!(stage.is_routed(&gateways, &active).is_err(), "a gateway's table has the route");
        let tried: Vec<_> =
            stage.rig.calls()?.into_iter().filter(|c| c["request"]["RouteTableId"] == gateways).collect();
        ensure!(tried.is_empty(), "calls for a gateway's table: {tried:?}");
        watch.end("a table added, and one of a gateway's")?.at_most(Duration::from_millis(300))?;
        stage.disassociate(&association)?;
        stage.delete_table(&gateways)?;
        stage.delete_table(&added)
    })
}

#[test]
fn a_takeover_skips_a_table_that_became_a_gateways() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let table = stage.new_table()?;
        wait_for("the route in the new table", BOOT, || stage.is_routed(&table, &active))?;
        let watch = stage.watch()?;
        // The takeover must work whether or not the standby's list has the table.
        stage.rig.aws(["ec2", "delete-route", "--route-table-id", &table, "--destination-cidr-block", VIP])?;
        let association = stage.associate(&table)?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        ensure!(stage.serving_nodes(BOOT)? == standby, "another node is active");
        wait_for("the node's message not to name the table", BOOT, || {
            let nodes = stage.rig.status()?.instances;
            let said = nodes.into_iter().find(|node| node.id == standby).and_then(|node| node.message);
            ensure!(said.as_ref().is_none_or(|said| !said.contains(&table)), "the message is {said:?}");
            Ok(())
        })?;
        watch.end("power cut after a table became a gateway's")?.at_most(Duration::from_millis(1500))?;
        stage.disassociate(&association)?;
        stage.delete_table(&table)
    })
}

#[test]
fn a_table_deleted_during_a_takeover_does_not_delay_it() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let table = stage.new_table()?;
        wait_for("the route in the new table", BOOT, || stage.is_routed(&table, &active))?;
        wait_for("the standby to read the new table", BOOT, || {
            let own = stage.rig.inside(&standby, &["/opt/elbow/agent", "status", "--output", "json"])?;
            ensure!(own.contains(&table), "{table} isn't in the standby's status");
            Ok(())
        })?;
        let watch = stage.watch()?;
        stage.rig.lab(["fail", "ReplaceRoute", "InternalError", "1000000"])?;
        stage.rig.lab(["kill", &active])?;
        wait_for("the takeover to begin", BOOT, || {
            let tried =
                |call: &serde_json::Value| call["caller"] == standby && call["request"]["RouteTableId"] == table;
            ensure!(stage.rig.calls()?.iter().any(tried), "{standby} hasn't tried {table}");
            Ok(())
        })?;
        stage.delete_table(&table)?;
        stage.rig.lab(["fail", "ReplaceRoute", "InternalError", "0"])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        ensure!(stage.serving_nodes(BOOT)? == standby, "some routes don't lead to the standby");
        watch.end("a table deleted in the middle of a takeover")?.at_most(Duration::from_secs(5))
    })
}
