//! What is left, for those who watch: a gauge for each of a few things, however many there are.

use std::collections::BTreeMap;
use std::sync::Mutex;

use metrics::{Gauge, gauge};

/// Things that have a gauge. More would make every scrape dearer for figures that nobody looks at.
const SHOWN_MAX: usize = 20;

/// Gauges by id.
pub(super) struct Gauges {
    metric: &'static str,
    /// The label that holds the id.
    label: &'static str,
    shown: Mutex<BTreeMap<u32, (String, Gauge)>>,
}

impl Gauges {
    pub(super) fn new(metric: &'static str, label: &'static str) -> Self {
        Self { metric, label, shown: Mutex::default() }
    }

    /// Shows the first of `things`: id, name, how many are left. A gauge whose thing is gone or has another name is not a number from
    /// then on: a figure that nobody keeps true must not be seen.
    pub(super) fn show<'a>(&self, things: impl Iterator<Item = (u32, &'a str, u64)>) {
        let mut shown = self.shown.lock().expect("nobody panics while holding it");
        let mut before = std::mem::take(&mut *shown);
        for (id, name, left) in things.take(SHOWN_MAX) {
            let known = before.remove(&id).filter(|(known_as, _)| known_as == name);
            let (name, gauge) = known.unwrap_or_else(|| {
                let labels = [(self.label, id.to_string()), ("name", name.to_owned())];
                (name.to_owned(), gauge!(self.metric, &labels))
            });
            gauge.set(left as f64);
            shown.insert(id, (name, gauge));
        }
        for (_, gauge) in before.into_values() {
            gauge.set(f64::NAN);
        }
    }
}
