//! Who follows a shard's changes, and how far each of them is.
//!
//! Nothing is kept for a follower but its place: what it has not been sent lies in the shard's own history. Only before a
//! compaction, which takes history away, everything is sent at once.

use std::sync::Arc;

use windlass_mvcc::Shard;
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::watch::{EventsBuilder, Follow, FollowNews, UNACKED_BYTES_MAX};

/// Bytes of events in one message; a larger event goes alone.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes that a compaction may put in front of a slow follower. At the bound it is dropped, and its watchers read from
/// what the compaction left.
const FORCED_BYTES_MAX: usize = 64 << 20;

/// Names a follower: a net arbiter.
pub type FollowerId = u16;

/// The followers of one shard.
#[derive(Default)]
pub(crate) struct Followers {
    list: Vec<Place>,
}

/// How far a follower is.
struct Place {
    id: FollowerId,
    with_previous: bool,
    /// Every change up to here was sent.
    sent: Revision,
    /// What it was told last that it has all of.
    through: Revision,
    unacked_bytes: usize,
}

/// The shard at the time of a step.
#[derive(Clone, Copy)]
pub(crate) struct Now<'a> {
    pub shard: &'a Shard,
    /// It is complete up to here.
    pub complete: Revision,
}

type Out = Vec<(FollowerId, FollowNews)>;

impl Followers {
    pub fn take(&mut self, now: Now<'_>, id: FollowerId, follow: Follow, out: &mut Out) {
        let at = self.list.iter().position(|place| place.id == id);
        match (follow, at) {
            (Follow::Begin { epoch, with_previous }, None) => {
                let sent = now.shard.newest_change();
                let mut place = Place { id, with_previous, sent, through: Revision::ZERO, unacked_bytes: 0 };
                out.push((id, FollowNews::Begun { epoch, after: sent }));
                place.send(now, FORCED_BYTES_MAX, out);
                self.list.push(place);
            }
            (Follow::Begin { epoch, with_previous }, Some(at)) => {
                // What is before this place goes in the form that was asked for before.
                if self.catch_up(at, now, out) {
                    let place = &mut self.list[at];
                    place.with_previous = with_previous;
                    out.push((id, FollowNews::Begun { epoch, after: place.sent }));
                }
            }
            (Follow::Ack { bytes }, Some(at)) => {
                let place = &mut self.list[at];
                place.unacked_bytes = place.unacked_bytes.saturating_sub(bytes);
            }
            (Follow::End, Some(at)) => drop(self.list.swap_remove(at)),
            // It was dropped, and does not know that yet.
            (Follow::Ack { .. } | Follow::End, None) => {}
        }
    }

    /// Sends one follower everything, or drops it if that is too much; false if so.
    fn catch_up(&mut self, at: usize, now: Now<'_>, out: &mut Out) -> bool {
        let place = &mut self.list[at];
        place.send(now, FORCED_BYTES_MAX.saturating_sub(place.unacked_bytes), out);
        let kept = place.sent >= now.shard.newest_change();
        if !kept {
            out.push((place.id, FollowNews::Lost));
            self.list.swap_remove(at);
        }
        kept
    }

    /// Sends everyone what is new, as far as they keep up.
    pub fn send(&mut self, now: Now<'_>, out: &mut Out) {
        let mut last: Option<Sent> = None;
        for place in &mut self.list {
            if place.unacked_bytes >= UNACKED_BYTES_MAX || !place.is_due(now) {
                continue;
            }
            if let Some(last) = last.as_ref().filter(|last| last.is_for(place)) {
                place.send_same(last, out);
                continue;
            }
            let (first, from) = (out.len(), (place.sent, place.with_previous));
            let before = place.unacked_bytes;
            place.send(now, UNACKED_BYTES_MAX - before, out);
            let bytes = place.unacked_bytes - before;
            let news = out[first..].iter().map(|(_, news)| news.clone()).collect();
            last = Some(Sent { from, news, bytes, sent: place.sent, through: place.through });
        }
    }

    /// Drops everyone, as if they had been too slow.
    #[cfg(test)]
    pub fn lose(&mut self, out: &mut Out) {
        out.extend(self.list.drain(..).map(|place| (place.id, FollowNews::Lost)));
    }

    /// A compaction is about to take history away.
    pub fn before_compaction(&mut self, now: Now<'_>, out: &mut Out) {
        for at in (0..self.list.len()).rev() {
            self.catch_up(at, now, out);
        }
    }
}

/// What one follower was sent; another at the same place gets the same.
struct Sent {
    from: (Revision, bool),
    news: Vec<FollowNews>,
    bytes: usize,
    sent: Revision,
    through: Revision,
}

impl Sent {
    fn is_for(&self, place: &Place) -> bool {
        self.from == (place.sent, place.with_previous)
            && place.unacked_bytes + self.bytes <= UNACKED_BYTES_MAX + PIECE_BYTES
    }
}

impl Place {
    fn is_due(&self, now: Now<'_>) -> bool {
        self.sent < now.shard.newest_change() || self.through < now.complete
    }

    fn send_same(&mut self, same: &Sent, out: &mut Out) {
        out.extend(same.news.iter().map(|news| (self.id, news.clone())));
        self.sent = same.sent;
        self.through = same.through;
        self.unacked_bytes += same.bytes;
    }

    /// Sends what is new, at most about `bytes_max`, and ends between two revisions.
    fn send(&mut self, now: Now<'_>, bytes_max: usize, out: &mut Out) {
        let (mut piece, mut bytes) = (EventsBuilder::default(), 0);
        let mut all = true;
        for (revision, change) in now.shard.walk_changes(KeyRange::From(b""), self.sent.next()) {
            if revision > self.sent {
                if bytes + piece.bytes() >= bytes_max {
                    all = false;
                    break;
                }
                self.through = self.through.max(self.sent.min(now.complete));
                self.sent = revision;
            }
            if let Some(change) = change {
                piece.push(&change, self.with_previous);
            }
            if piece.bytes() >= PIECE_BYTES {
                bytes += self.send_piece(std::mem::take(&mut piece), out);
            }
        }
        // Of a revision that it began it has sent all, or none.
        let through = if all { now.complete } else { self.sent.min(now.complete) };
        if piece.bytes() > 0 || through > self.through {
            self.through = self.through.max(through);
            self.send_piece(piece, out);
        }
    }

    fn send_piece(&mut self, piece: EventsBuilder, out: &mut Out) -> usize {
        let events = piece.finish();
        let bytes = events.bytes();
        self.unacked_bytes += bytes;
        out.push((self.id, FollowNews::Changed { events: Arc::new(events), through: self.through }));
        bytes
    }
}
