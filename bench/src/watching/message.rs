//! Looks at a watch's answers without decoding them: what a load generator spends on an event is not the server's to pay.

use crate::workload::{PREFIX_BYTES, STAMP_BYTES};

/// Numbers of protobuf fields: of `WatchResponse`, `Event` and `KeyValue`.
const CREATED: u64 = 3;
const CANCELED: u64 = 4;
const EVENTS: u64 = 11;
const KV: u64 = 2;
const VALUE: u64 = 5;

/// What some answers held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Watches that were created.
    pub created: u64,
    /// Watches that the server has ended.
    pub canceled: u64,
    /// Events.
    pub events: u64,
}

impl Seen {
    /// Adds what another had.
    pub fn add(&mut self, other: Self) {
        self.created += other.created;
        self.canceled += other.canceled;
        self.events += other.events;
    }
}

/// Takes the whole gRPC frames from the front of `body`. Calls `stamp` with the time in each event's value that begins
/// with one.
///
/// # Errors
/// The bytes are no answers.
pub fn look(body: &mut Vec<u8>, mut stamp: impl FnMut(u64)) -> Result<Seen, String> {
    let (mut seen, mut at) = (Seen::default(), 0);
    while let Some(prefix) = body.get(at..at + PREFIX_BYTES) {
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let begin = at + PREFIX_BYTES;
        let Some(message) = body.get(begin..begin + len) else { break };
        let one = look_at(message, &mut stamp).ok_or("a watch's answer is not one")?;
        seen.add(one);
        at = begin + len;
    }
    body.drain(..at);
    Ok(seen)
}

fn look_at(message: &[u8], stamp: &mut impl FnMut(u64)) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut canceled = false;
    let mut created = false;
    fields(message, |number, field| match (number, field) {
        (CREATED, Field::Number(flag)) => created = flag != 0,
        (CANCELED, Field::Number(flag)) => canceled = flag != 0,
        (EVENTS, Field::Bytes(event)) => {
            seen.events += 1;
            if let Some(ns) = stamp_of(event) {
                stamp(ns);
            }
        }
        _ => {}
    })?;
    (seen.created, seen.canceled) = (u64::from(created), u64::from(canceled));
    Some(seen)
}

fn stamp_of(event: &[u8]) -> Option<u64> {
    let (mut kv, mut value) = (None, None);
    fields(event, |number, field| {
        if let (KV, Field::Bytes(bytes)) = (number, field) {
            kv = Some(bytes);
        }
    })?;
    fields(kv?, |number, field| {
        if let (VALUE, Field::Bytes(bytes)) = (number, field) {
            value = Some(bytes);
        }
    })?;
    std::str::from_utf8(value?.get(..STAMP_BYTES)?).ok()?.parse().ok()
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `each` with every field; `None` if the bytes are no message.
fn fields<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u64, Field<'a>)) -> Option<()> {
    while !bytes.is_empty() {
        let tag = prost::decode_length_delimiter(&mut bytes).ok()? as u64;
        let field = match tag & 7 {
            0 => Field::Number(prost::decode_length_delimiter(&mut bytes).ok()? as u64),
            1 => Field::Bytes(bytes.split_off(..8)?),
            2 => {
                let len = prost::decode_length_delimiter(&mut bytes).ok()?;
                Field::Bytes(bytes.split_off(..len)?)
            }
            5 => Field::Bytes(bytes.split_off(..4)?),
            _ => return None,
        };
        each(tag >> 3, field);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::WatchResponse;
    use windlass_api::mvccpb::{Event, KeyValue};

    use super::*;
    use crate::workload::frame;

    fn response(created: bool, values: &[&str]) -> Vec<u8> {
        let event = |value: &&str| Event {
            kv: Some(KeyValue {
                key: b"k".to_vec().into(),
                mod_revision: 9,
                value: value.as_bytes().to_vec().into(),
                ..Default::default()
            }),
            prev_kv: Some(KeyValue { value: b"0000000000000777".to_vec().into(), ..Default::default() }),
            ..Default::default()
        };
        let events = values.iter().map(event).collect();
        frame(&WatchResponse { created, watch_id: 5, events, ..Default::default() })
    }

    #[test]
    fn answers_are_looked_at_without_decoding() {
        let whole = [response(true, &[]), response(false, &["0000000000000042xyz", "short"])].concat();
        for cut in 0..whole.len() {
            let (mut body, mut stamps, mut seen) = (whole[..cut].to_vec(), Vec::new(), Seen::default());
            seen.add(look(&mut body, |ns| stamps.push(ns)).expect("are answers"));
            body.extend_from_slice(&whole[cut..]);
            seen.add(look(&mut body, |ns| stamps.push(ns)).expect("are answers"));
            assert_eq!((seen, body.len()), (Seen { created: 1, canceled: 0, events: 2 }, 0), "{cut}");
            assert_eq!(stamps, [42]);
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let mut body = vec![0, 0, 0, 0, 2, 0x0f, 1];
        assert!(look(&mut body, |_| {}).is_err());
    }
}
