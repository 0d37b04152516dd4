//! The reports that a node writes to tags for programs, beside its roles.

use std::collections::BTreeMap;

use templates::Order;
use templates::listener_probe::Answer;
use templates::names::{TAG_PROBED, TAG_REFUSED_HANDOVER, TAG_REFUSED_REVISION, TAG_UNREACHABLE};
use templates::report::{Moment, Refusal, Unreachable};

/// Reports with a tag each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reports {
    /// The peers that this node can't reach.
    pub unreachable: Unreachable,
    /// The sign of life, while a peer is silent.
    pub alive: Option<Moment>,
    /// The request to hand over that this node refused.
    pub refused_handover: Option<Refusal<String>>,
    /// The order that this node refused.
    pub refused_revision: Option<Refusal<Order>>,
    /// How the listeners answered, while the launcher asks for it.
    pub probed: Option<Answer>,
}

impl Reports {
    /// The reports in these tags, with which a restarted agent continues; without the sign of life.
    pub fn written(tags: &BTreeMap<String, String>) -> Reports {
        let tag = |key: &str| tags.get(key).map(String::as_str);
        Reports {
            unreachable: tag(TAG_UNREACHABLE).and_then(|value| value.parse().ok()).unwrap_or_default(),
            alive: None,
            refused_handover: tag(TAG_REFUSED_HANDOVER).and_then(|value| value.parse().ok()),
            refused_revision: tag(TAG_REFUSED_REVISION).and_then(|value| value.parse().ok()),
            probed: Answer::read(TAG_PROBED.into_iter().map_while(tag)),
        }
    }
}
