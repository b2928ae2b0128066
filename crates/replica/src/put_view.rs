//! A borrowed view of an encoded `PutRequest`, for the path that every plain put takes.
//!
//! It understands exactly the puts whose effect is known without looking at the store: key and value, and every flag
//! off. Whatever else it meets, it steps back (`None`) and the caller decodes the message in full, so it must never
//! accept bytes that a full decoding would read differently.

use crate::fields::bytes;
use crate::task::Span;

const KEY: u8 = 0x0a; // field 1, length-delimited
const VALUE: u8 = 0x12; // field 2, length-delimited
const LEASE: u8 = 0x18; // field 3, varint
const PREV_KV: u8 = 0x20; // field 4, varint
const IGNORE_VALUE: u8 = 0x28; // field 5, varint
const IGNORE_LEASE: u8 = 0x30; // field 6, varint

/// A put with nothing but a key and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutView<'a> {
    payload: &'a [u8],
    key: Span,
    value: Span,
}

impl<'a> PutView<'a> {
    /// Reads `payload`; `None` if it is anything but an unconditional put of a key that is not empty.
    #[must_use]
    pub fn scan(payload: &'a [u8]) -> Option<Self> {
        let (mut key, mut value) = (Span { start: 0, len: 0 }, Span { start: 0, len: 0 });
        let mut at = 0;
        while let Some(&tag) = payload.get(at) {
            at += 1;
            match tag {
                KEY => key = bytes(payload, &mut at)?,
                VALUE => value = bytes(payload, &mut at)?,
                LEASE | PREV_KV | IGNORE_VALUE | IGNORE_LEASE if *payload.get(at)? == 0 => at += 1,
                _ => return None,
            }
        }
        (key.len > 0).then_some(Self { payload, key, value })
    }

    /// The key; never empty.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key.of(self.payload)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.value.of(self.payload)
    }

    /// Where key and value lie in a text in which the payload begins at `base`.
    #[must_use]
    pub fn spans(&self, base: u32) -> (Span, Span) {
        let moved = |span: Span| Span { start: base + span.start, len: span.len };
        (moved(self.key), moved(self.value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use windlass_api::etcdserverpb::PutRequest;

    use super::*;

    proptest! {
        #[test]
        fn plain_puts_are_read(key: Vec<u8>, value: Vec<u8>) {
            let request = PutRequest { key: key.clone().into(), value: value.clone().into(), ..Default::default() };
            let payload = request.encode_to_vec();
            let view = PutView::scan(&payload);
            prop_assert_eq!(view.is_some(), !key.is_empty());
            if let Some(view) = view {
                prop_assert_eq!((view.key(), view.value()), (&key[..], &value[..]));
                let text = [b"head", &payload[..]].concat();
                let (key_span, value_span) = view.spans(4);
                prop_assert_eq!((key_span.of(&text), value_span.of(&text)), (&key[..], &value[..]));
            }
        }

        #[test]
        fn others_are_left_alone(lease in -1_i64..2, flags in 0_u8..8) {
            let request = PutRequest {
                key: "k".into(), value: "v".into(), lease,
                prev_kv: flags & 1 > 0, ignore_value: flags & 2 > 0, ignore_lease: flags & 4 > 0,
            };
            let payload = request.encode_to_vec();
            prop_assert_eq!(PutView::scan(&payload).is_some(), lease == 0 && flags == 0);
        }

        #[test]
        fn agrees_with_prost_on_any_bytes(
            payload in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 3, 0x0a, 0x12, 0x18, 0x20, 0x28, 0x30, 0x80, 0xff]), 0..24),
        ) {
            if let Some(view) = PutView::scan(&payload) {
                let (key, value) = (view.key().to_vec(), view.value().to_vec());
                let full = PutRequest::decode(&payload[..]).unwrap();
                let want = PutRequest { key: key.into(), value: value.into(), ..Default::default() };
                prop_assert_eq!(full, want);
            }
        }
    }
}
