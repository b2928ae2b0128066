//! A watch response, borrowed from where its parts are, and its encoding.

use windlass_api::etcdserverpb::ResponseHeader;
use windlass_types::Revision;

use super::events::Event;
use crate::wire;

/// The id of a response that is about no single watch.
pub const NO_WATCH: i64 = -1;

/// What a stream's client is told.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// For the header; zero is no revision.
    pub revision: Revision,
    /// The watch.
    pub watch_id: i64,
    /// What happened.
    pub kind: Kind<'a>,
}

/// What a [`Response`] says.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The watch was made.
    Created,
    /// The watch was not made, for this reason.
    Refused(&'a str),
    /// The client asked to end it.
    Canceled,
    /// It wants what is compacted: everything below this.
    Compacted(Revision),
    /// Everything up to the header's revision was sent.
    Progress,
    /// Something happened.
    Events {
        /// In order.
        events: &'a [Event<'a>],
        /// Whether the replaced pairs are wanted.
        with_previous: bool,
        /// Whether the rest of a response that was divided follows.
        fragment: bool,
    },
}

impl Response<'_> {
    /// Appends the `etcdserverpb.WatchResponse`; `header` is the rest of the header.
    pub fn encode(&self, header: &ResponseHeader, out: &mut Vec<u8>) {
        let header = ResponseHeader { revision: self.revision.0, ..*header };
        wire::message(wire::RESPONSE_HEADER, &header, out);
        wire::varint_field(wire::RESPONSE_WATCH_ID, self.watch_id as u64, out);
        let flag = |key, out: &mut Vec<u8>| wire::varint_field(key, 1, out);
        match self.kind {
            Kind::Created => flag(wire::RESPONSE_CREATED, out),
            Kind::Refused(reason) => {
                flag(wire::RESPONSE_CREATED, out);
                flag(wire::RESPONSE_CANCELED, out);
                wire::bytes_field(wire::RESPONSE_CANCEL_REASON, reason.as_bytes(), out);
            }
            Kind::Canceled => flag(wire::RESPONSE_CANCELED, out),
            Kind::Compacted(revision) => {
                flag(wire::RESPONSE_CANCELED, out);
                wire::varint_field(wire::RESPONSE_COMPACT_REVISION, revision.0 as u64, out);
            }
            Kind::Progress => {}
            Kind::Events { events, with_previous, fragment } => {
                wire::varint_field(wire::RESPONSE_FRAGMENT, u64::from(fragment), out);
                for event in events {
                    wire::message_field(wire::RESPONSE_EVENTS, event.message_len(with_previous), out);
                    event.encode(with_previous, out);
                }
            }
        }
    }
}

/// Bytes that an event takes within a response.
pub(super) fn event_len(event: &Event<'_>, with_previous: bool) -> usize {
    wire::message_field_len(event.message_len(with_previous))
}

/// Where a response of these events is divided for a client that allows it: the length of its first part. Source: etcd
/// `v3rpc/watch.go` (`sendFragments`): a single event is never divided, however large.
pub(super) fn fragment_len(events: &[Event<'_>], with_previous: bool, bytes_max: usize) -> usize {
    let mut bytes = HEADER_BYTES;
    for (at, event) in events.iter().enumerate() {
        bytes += event_len(event, with_previous);
        if at > 0 && bytes >= bytes_max {
            return at;
        }
    }
    events.len()
}

/// What a response is taken to hold besides events: with ids and revisions of usual size it is that to a few bytes.
const HEADER_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use prost::Message;
    use windlass_api::etcdserverpb::WatchResponse;

    use super::*;

    #[test]
    fn responses_are_the_protobuf_messages() {
        let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 0, raft_term: 3 };
        let base = |watch_id| WatchResponse {
            header: Some(ResponseHeader { revision: 300, ..header }),
            watch_id,
            ..WatchResponse::default()
        };
        let cases = [
            (7, Kind::Created, WatchResponse { created: true, ..base(7) }),
            (
                NO_WATCH,
                Kind::Refused("why"),
                WatchResponse {
                    created: true,
                    canceled: true,
                    cancel_reason: "why".into(),
                    ..base(NO_WATCH)
                },
            ),
            (0, Kind::Canceled, WatchResponse { canceled: true, ..base(0) }),
            (
                1,
                Kind::Compacted(Revision(200)),
                WatchResponse { canceled: true, compact_revision: 200, ..base(1) },
            ),
            (NO_WATCH, Kind::Progress, base(NO_WATCH)),
            (
                5,
                Kind::Events { events: &[], with_previous: false, fragment: true },
                WatchResponse { fragment: true, ..base(5) },
            ),
        ];
        for (watch_id, kind, want) in cases {
            let mut bytes = Vec::new();
            Response { revision: Revision(300), watch_id, kind }.encode(&header, &mut bytes);
            assert_eq!(WatchResponse::decode(&*bytes).unwrap(), want);
        }
    }
}
