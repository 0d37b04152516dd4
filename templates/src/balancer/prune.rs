//! Reads a balancer out of TOML and goes on after an error: it takes the value at fault out of the text's tree, or puts
//! one of the right type in its place, and reads again. So one run finds every error.

use std::borrow::Cow;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Balancer;
use super::findings::Finding;
use super::location::{self, Path, Segment};
use super::shape::shape;

/// What was read.
pub struct Pruned<'i> {
    /// The balancer without the values at fault; none if too little is left for other checks.
    pub balancer: Option<Balancer>,
    /// The tree that the balancer was read from.
    pub root: Spanned<DeTable<'i>>,
    pub findings: Vec<Finding>,
    /// The paths of the values at fault. Other checks ignore them.
    pub paths: Vec<Path>,
}

/// Each error takes at most a few rounds, and a file has few errors.
const ROUNDS: usize = 200;

/// Reads a balancer from a document of `text`.
pub fn read<'i>(text: &'i str, root: Spanned<DeTable<'i>>) -> Pruned<'i> {
    let mut pruned = Pruned { balancer: None, root, findings: Vec::new(), paths: Vec::new() };
    let mut lost_a_table = false;
    for round in 0..ROUNDS {
        let error = match Balancer::deserialize(Deserializer::from(pruned.root.clone())) {
            Ok(balancer) => {
                pruned.balancer = Some(balancer).filter(|_| !lost_a_table);
                break;
            }
            Err(error) => error,
        };
        let mut shape = shape(text, pruned.root.get_ref(), &error);
        // Not an item is at fault, but that a list is where a table belongs.
        if stand_in(&location::dotted(&shape.path)).is_some_and(|value| value.is_table()) {
            shape.path.truncate(1);
        }
        if !pruned.paths.iter().any(|known| location::related(known, &shape.path)) {
            pruned.findings.push(shape.finding);
            pruned.paths.push(shape.path.clone());
            let is_absent = |path: &Path| location::value(pruned.root.get_ref(), path).is_none();
            pruned.paths.extend(shape.meant.filter(is_absent));
        }
        // Behind the text, and each at a place of its own, so that an error at it is found.
        let nowhere = text.len() + 2 * round + 2;
        let at = nowhere..nowhere + 1;
        let key = Some(location::dotted(&shape.path)).filter(|_| matches!(shape.path.last(), Some(Segment::Key(_))));
        let stands_in = key.and_then(|key| stand_in(&key)).map(|value| Spanned::new(at, value));
        let is_present = location::value(pruned.root.get_ref(), &shape.path).is_some();
        let mended = match (stands_in, is_present) {
            (Some(value), _) => put(pruned.root.get_mut(), &shape.path, value),
            (None, is_present) => {
                // A table without a key that it must have can't stay.
                let steps = shape.path.len() - usize::from(!is_present && !shape.path.is_empty());
                let taken = take_out(pruned.root.get_mut(), &shape.path[..steps]);
                let is_item = matches!(shape.path[..steps].last(), Some(Segment::Index(_)));
                lost_a_table |= is_item && matches!(taken, Some(DeValue::Table(_)));
                taken.map(drop)
            }
        };
        if mended.is_none() {
            break;
        }
    }
    pruned
}

/// A value of the right type for a key without which nothing else can be checked.
fn stand_in(key: &str) -> Option<DeValue<'static>> {
    let text = |text| Some(DeValue::String(Cow::Borrowed(text)));
    match key {
        "name" | "vpc" | "agent.source" | "agent.sha256" | "listener.name" | "target_group.name" => text(""),
        "listener.protocol" | "target_group.protocol" => text("http"),
        "subnets" | "virtual_ips" | "listener" | "target_group" | "target_group.targets" | "listener.targets" => {
            Some(DeValue::Array(DeArray::new()))
        }
        "agent" => Some(DeValue::Table(DeTable::new())),
        _ => None,
    }
}

/// The table or list around the last step of the path.
fn parent<'t, 'i>(root: &'t mut DeTable<'i>, path: &[Segment]) -> Option<Around<'t, 'i>> {
    let mut around = Around::Table(root);
    for step in &path[..path.len().checked_sub(1)?] {
        let value = match (around, step) {
            (Around::Table(table), Segment::Key(key)) => table.get_mut(key.as_str())?,
            (Around::List(list), Segment::Index(index)) => list.get_mut(*index)?,
            _ => return None,
        };
        around = match value.get_mut() {
            DeValue::Table(table) => Around::Table(table),
            DeValue::Array(list) => Around::List(list),
            _ => return None,
        };
    }
    Some(around)
}

enum Around<'t, 'i> {
    Table(&'t mut DeTable<'i>),
    List(&'t mut DeArray<'i>),
}

fn take_out<'i>(root: &mut DeTable<'i>, path: &[Segment]) -> Option<DeValue<'i>> {
    match (parent(root, path)?, path.last()?) {
        (Around::Table(table), Segment::Key(key)) => table.remove(key.as_str()).map(Spanned::into_inner),
        (Around::List(list), Segment::Index(index)) => {
            let mut items: Vec<_> = std::mem::replace(list, DeArray::new()).into_iter().collect();
            let taken = (*index < items.len()).then(|| items.remove(*index).into_inner());
            *list = items.into_iter().collect();
            taken
        }
        _ => None,
    }
}

fn put<'i>(root: &mut DeTable<'i>, path: &[Segment], value: Spanned<DeValue<'i>>) -> Option<()> {
    match (parent(root, path)?, path.last()?) {
        (Around::Table(table), Segment::Key(key)) => {
            let span = value.span();
            table.remove(key.as_str());
            table.insert(Spanned::new(span, Cow::Owned(key.clone())), value);
            Some(())
        }
        _ => None,
    }
}
