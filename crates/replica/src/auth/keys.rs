//! Sets of keys that are ranges: what somebody may read or write.

use bytes::Bytes;
use windlass_types::key::KeyRange;

/// Keys, as ranges that neither overlap nor touch, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    ranges: Vec<Span>,
}

/// The keys from `start` to before `end`; to the last one if there is no end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

impl Span {
    fn of(range: KeyRange<'_>) -> Self {
        let copy = Bytes::copy_from_slice;
        match range {
            KeyRange::Point(key) => Self { start: copy(key), end: Some(after(key)) },
            // One without a key in it counts as its first: whoever may not name that may not name the range.
            KeyRange::Bounded(start, end) if start >= end => Self::of(KeyRange::Point(start)),
            KeyRange::Bounded(start, end) => Self { start: copy(start), end: Some(copy(end)) },
            KeyRange::From(start) => Self { start: copy(start), end: None },
        }
    }

    /// Whether the span reaches at least as far as `end`.
    fn reaches(&self, end: Option<&[u8]>) -> bool {
        match (&self.end, end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(end)) => &own[..] >= end,
        }
    }

    /// Whether a span that begins at `start` joins this one, which begins no later.
    fn joins(&self, start: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| start <= &end[..])
    }
}

/// The smallest key above `key`.
fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

impl Keys {
    /// All keys that are in some of the ranges.
    pub fn of<'a>(ranges: impl IntoIterator<Item = KeyRange<'a>>) -> Self {
        let mut spans: Vec<Span> = ranges.into_iter().map(Span::of).collect();
        spans.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut().filter(|last| last.joins(&span.start)) {
                Some(last) if last.reaches(span.end.as_deref()) => {}
                Some(last) => last.end = span.end,
                None => merged.push(span),
            }
        }
        Self { ranges: merged }
    }

    /// Whether every key is in the set.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        // No key is empty.
        self.covers(KeyRange::From(&[0]))
    }

    /// Whether this key is in the set.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.span_at(key).is_some_and(|span| span.end.as_ref().is_none_or(|end| key < &end[..]))
    }

    /// Whether every key of the range is in the set. A range without keys is one of its first key.
    #[must_use]
    pub fn covers(&self, range: KeyRange<'_>) -> bool {
        let end = match range {
            KeyRange::Point(key) => return self.contains(key),
            KeyRange::Bounded(start, end) if start >= end => return self.contains(start),
            KeyRange::Bounded(_, end) => Some(end),
            KeyRange::From(_) => None,
        };
        self.span_at(range.start()).is_some_and(|span| span.reaches(end))
    }

    /// The last span that begins at `key` or before.
    fn span_at(&self, key: &[u8]) -> Option<&Span> {
        let behind = self.ranges.partition_point(|span| &span.start[..] <= key);
        behind.checked_sub(1).map(|at| &self.ranges[at])
    }
}
