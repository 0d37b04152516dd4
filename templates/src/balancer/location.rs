//! Finds values in the TOML text, so that an error can name the line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step from a table or list to what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The value of this key.
    Key(String),
    /// The item at this position.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Segment {
        Segment::Key(key.to_owned())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Segment {
        Segment::Index(index)
    }
}

/// The steps from the top to a value.
pub type Path = Vec<Segment>;

/// A [`Path`] written down: `at!["listener", 0, "port"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { vec![$(crate::balancer::location::Segment::from($step)),*] };
}

pub(in crate::balancer) use at;

/// A path as an error shows it: keys only, as the line tells the item.
pub fn dotted(path: &[Segment]) -> String {
    let keys: Vec<&str> =
        path.iter().filter_map(|s| if let Segment::Key(key) = s { Some(key.as_str()) } else { None }).collect();
    keys.join(".")
}

/// The line, from 1, of this byte.
pub fn line(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}

/// The bytes of the value at this path, or else of the nearest table around it. `None`: the text has neither.
pub fn find(root: &DeTable<'_>, path: &[Segment]) -> Option<Range<usize>> {
    (1..=path.len()).rev().find_map(|steps| value(root, &path[..steps])).map(Spanned::span)
}

/// The value at this path.
pub fn value<'t, 'i>(root: &'t DeTable<'i>, path: &[Segment]) -> Option<&'t Spanned<DeValue<'i>>> {
    let (first, rest) = path.split_first()?;
    let Segment::Key(key) = first else { return None };
    rest.iter().try_fold(root.get(key.as_str())?, |value, step| match (value.get_ref(), step) {
        (DeValue::Table(table), Segment::Key(key)) => table.get(key.as_str()),
        (DeValue::Array(list), Segment::Index(index)) => list.get(*index),
        _ => None,
    })
}

/// Whether one of these is the other, or inside of it.
pub fn related(a: &[Segment], b: &[Segment]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The path of the innermost key or value that contains this span.
pub fn around(root: &DeTable<'_>, span: &Range<usize>) -> Path {
    let mut path = Path::new();
    descend(root, span, &mut path);
    path
}

fn descend(table: &DeTable<'_>, span: &Range<usize>, path: &mut Path) {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        if holds(key.span()) || holds(value.span()) {
            path.push(Segment::Key(key.get_ref().to_string()));
            return inside(value.get_ref(), span, path);
        }
        // The spans of a list of tables and of a dotted table don't cover their content.
        let mut deeper = at![&**key.get_ref()];
        let before = deeper.len();
        inside(value.get_ref(), span, &mut deeper);
        if deeper.len() > before {
            return path.append(&mut deeper);
        }
    }
}

fn inside(value: &DeValue<'_>, span: &Range<usize>, path: &mut Path) {
    match value {
        DeValue::Table(table) => descend(table, span, path),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut deeper = at![index];
                inside(item.get_ref(), span, &mut deeper);
                if deeper.len() > 1 || (item.span().start <= span.start && span.end <= item.span().end) {
                    return path.append(&mut deeper);
                }
            }
        }
        _ => {}
    }
}
