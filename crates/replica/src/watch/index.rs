//! Which watchers want to hear of a key.

use std::collections::HashMap;

use slab::Slab;
use windlass_types::key::KeyRange;

use super::intervals::Intervals;

/// A watcher's place in the table of watchers.
pub(super) type WatcherKey = u32;

/// Where a watcher stands in the index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    group: u32,
    at: u32,
}

/// The watchers of one net arbiter by what they watch. Watchers of the same key or range are one group.
#[derive(Debug, Default)]
pub(super) struct Index {
    groups: Slab<Vec<WatcherKey>>,
    /// Its hash is keyed at random, against clients that choose keys which collide; its order is never looked at.
    keys: HashMap<Box<[u8]>, u32>,
    ranges: Intervals,
}

impl Index {
    /// Adds a watcher; its place is to be kept.
    pub fn insert(&mut self, range: KeyRange<'_>, watcher: WatcherKey) -> Place {
        let found = match range {
            KeyRange::Point(key) => self.keys.get(key).copied(),
            KeyRange::Bounded(start, end) => self.ranges.get(start, Some(end)),
            KeyRange::From(start) => self.ranges.get(start, None),
        };
        let group = found.unwrap_or_else(|| self.new_group(range));
        let watchers = &mut self.groups[group as usize];
        watchers.push(watcher);
        Place { group, at: u32::try_from(watchers.len() - 1).expect("watchers are bounded") }
    }

    /// Removes the watcher at a place. The one that stands there now, if any, is to be told its new place.
    pub fn remove(&mut self, range: KeyRange<'_>, place: Place) -> Option<(WatcherKey, Place)> {
        let watchers = &mut self.groups[place.group as usize];
        watchers.swap_remove(place.at as usize);
        if watchers.is_empty() {
            self.groups.remove(place.group as usize);
            match range {
                KeyRange::Point(key) => drop(self.keys.remove(key)),
                KeyRange::Bounded(start, end) => self.ranges.remove(start, Some(end)),
                KeyRange::From(start) => self.ranges.remove(start, None),
            }
            return None;
        }
        watchers.get(place.at as usize).map(|&moved| (moved, place))
    }

    /// Calls `found` with each watcher of `key`.
    pub fn watching(&self, key: &[u8], mut found: impl FnMut(WatcherKey)) {
        let mut group = |id: u32| self.groups[id as usize].iter().for_each(|&watcher| found(watcher));
        if let Some(&id) = self.keys.get(key) {
            group(id);
        }
        self.ranges.holding(key, &mut group);
    }

    fn new_group(&mut self, range: KeyRange<'_>) -> u32 {
        let id = u32::try_from(self.groups.insert(Vec::new())).expect("watchers are bounded");
        match range {
            KeyRange::Point(key) => drop(self.keys.insert(key.into(), id)),
            KeyRange::Bounded(start, end) => self.ranges.insert(start, Some(end), id),
            KeyRange::From(start) => self.ranges.insert(start, None, id),
        }
        id
    }
}
