//! The few protobuf encodings that events, watch responses and lists need. Source: etcd `kv.proto` and `rpc.proto`.
//!
//! A field whose value is its type's default is left out, as protobuf has it.

use std::ops::Range;

use prost::Message;

/// Most bytes of one varint.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Keys of fields: the field's number and its wire type (0 varint, 2 bytes).
pub(crate) const EVENT_TYPE: u8 = 1 << 3;
pub(crate) const EVENT_KV: u8 = 2 << 3 | 2;
pub(crate) const EVENT_PREV_KV: u8 = 3 << 3 | 2;
pub(crate) const KV_KEY: u8 = 1 << 3 | 2;
pub(crate) const KV_CREATE_REVISION: u8 = 2 << 3;
pub(crate) const KV_MOD_REVISION: u8 = 3 << 3;
pub(crate) const KV_VERSION: u8 = 4 << 3;
pub(crate) const KV_VALUE: u8 = 5 << 3 | 2;
pub(crate) const KV_LEASE: u8 = 6 << 3;
pub(crate) const RESPONSE_HEADER: u8 = 1 << 3 | 2;
pub(crate) const RESPONSE_WATCH_ID: u8 = 2 << 3;
pub(crate) const RESPONSE_CREATED: u8 = 3 << 3;
pub(crate) const RESPONSE_CANCELED: u8 = 4 << 3;
pub(crate) const RESPONSE_COMPACT_REVISION: u8 = 5 << 3;
pub(crate) const RESPONSE_CANCEL_REASON: u8 = 6 << 3 | 2;
pub(crate) const RESPONSE_FRAGMENT: u8 = 7 << 3;
pub(crate) const RESPONSE_EVENTS: u8 = 11 << 3 | 2;
pub(crate) const TXN_SUCCEEDED: u8 = 2 << 3;
pub(crate) const TXN_RESPONSES: u8 = 3 << 3 | 2;
pub(crate) const OP_RANGE: u8 = 1 << 3 | 2;
pub(crate) const CHUNK_RANGE: u8 = 1 << 3 | 2;
pub(crate) const RANGE_KVS: u8 = 2 << 3 | 2;
pub(crate) const RANGE_MORE: u8 = 3 << 3;
pub(crate) const RANGE_COUNT: u8 = 4 << 3;

/// `mvccpb.Event.EventType.DELETE`.
pub(crate) const TYPE_DELETE: u64 = 1;

/// What single bytes are appended to.
pub(crate) trait Sink {
    /// Appends one.
    fn push(&mut self, byte: u8);
}

impl Sink for Vec<u8> {
    fn push(&mut self, byte: u8) {
        self.push(byte);
    }
}

/// Room of a [`Numbers`]: for a pair's four numbers, and for the fronts of the pair, its key and its value.
pub(crate) const NUMBERS_BYTES_MAX: usize = 7 * (1 + VARINT_BYTES_MAX);

/// Bytes that are appended to something else at once. More than there is room for is a mistake of the caller's.
pub(crate) struct Numbers {
    bytes: [u8; NUMBERS_BYTES_MAX],
    len: usize,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { bytes: [0; NUMBERS_BYTES_MAX], len: 0 }
    }
}

impl Numbers {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Sink for Numbers {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// Length of a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    (bits.div_ceil(7) as usize).max(1)
}

/// Length of a field of bytes that is there though it may be empty.
pub(crate) fn message_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a number's field, unless it is zero.
pub(crate) fn varint_field(key: u8, value: u64, out: &mut impl Sink) {
    if value != 0 {
        out.push(key);
        varint(value, out);
    }
}

/// Appends a field of bytes, unless they are none.
pub(crate) fn bytes_field(key: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        message_field(key, bytes.len(), out);
        out.extend_from_slice(bytes);
    }
}

/// Appends a field that is a whole message.
pub(crate) fn message(key: u8, message: &impl Message, out: &mut Vec<u8>) {
    message_field(key, message.encoded_len(), out);
    message.encode(out).expect("a vector takes any length");
}

/// Appends the front of a field of `len` bytes, which follow.
pub(crate) fn message_field(key: u8, len: usize, out: &mut impl Sink) {
    out.push(key);
    varint(len as u64, out);
}

/// Makes what was appended from `start` on the content of a field, and that the content of the next; innermost first. It is
/// moved once.
pub(crate) fn enclose<const N: usize>(keys: [u8; N], start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    let mut len = end - start;
    let fields = keys.map(|key| {
        let field = (key, len);
        len = message_field_len(len);
        field
    });
    fields.into_iter().rev().for_each(|(key, len)| message_field(key, len, out));
    let fronts_len = out.len() - end;
    out[start..].rotate_right(fronts_len);
}

/// Where the content of the field of bytes lies that `message` begins with; none if it does not begin with one.
pub(crate) fn first_field(message: &[u8]) -> Option<Range<usize>> {
    let (mut len, mut at) = (0, 1);
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *message.get(at)?;
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(at..at.checked_add(len).filter(|&end| end <= message.len())?)
}

fn varint(mut value: u64, out: &mut impl Sink) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
