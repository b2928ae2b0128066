//! The few protobuf encodings that events and watch responses need. Source: etcd `kv.proto` and `rpc.proto`.
//!
//! A field whose value is its type's default is left out, as protobuf has it.

/// Most bytes of one varint.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// Keys of fields: the field's number and its wire type (0 varint, 2 bytes).
pub(super) const EVENT_TYPE: u8 = 1 << 3;
pub(super) const EVENT_KV: u8 = 2 << 3 | 2;
pub(super) const EVENT_PREV_KV: u8 = 3 << 3 | 2;
pub(super) const KV_KEY: u8 = 1 << 3 | 2;
pub(super) const KV_CREATE_REVISION: u8 = 2 << 3;
pub(super) const KV_MOD_REVISION: u8 = 3 << 3;
pub(super) const KV_VERSION: u8 = 4 << 3;
pub(super) const KV_VALUE: u8 = 5 << 3 | 2;
pub(super) const KV_LEASE: u8 = 6 << 3;
pub(super) const RESPONSE_HEADER: u8 = 1 << 3 | 2;
pub(super) const RESPONSE_WATCH_ID: u8 = 2 << 3;
pub(super) const RESPONSE_CREATED: u8 = 3 << 3;
pub(super) const RESPONSE_CANCELED: u8 = 4 << 3;
pub(super) const RESPONSE_COMPACT_REVISION: u8 = 5 << 3;
pub(super) const RESPONSE_CANCEL_REASON: u8 = 6 << 3 | 2;
pub(super) const RESPONSE_FRAGMENT: u8 = 7 << 3;
pub(super) const RESPONSE_EVENTS: u8 = 11 << 3 | 2;

/// `mvccpb.Event.EventType.DELETE`.
pub(super) const TYPE_DELETE: u64 = 1;

/// Length of a varint.
pub(super) fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    (bits.div_ceil(7) as usize).max(1)
}

/// Length of [`varint_field`].
pub(super) fn varint_field_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

/// Length of [`bytes_field`].
pub(super) fn bytes_field_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { message_field_len(bytes.len()) }
}

/// Length of a field of bytes that is there though it may be empty.
pub(super) fn message_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a number's field, unless it is zero.
pub(super) fn varint_field(key: u8, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        out.push(key);
        varint(value, out);
    }
}

/// Appends a field of bytes, unless they are none.
pub(super) fn bytes_field(key: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        message_field(key, bytes.len(), out);
        out.extend_from_slice(bytes);
    }
}

/// Appends the front of a field of `len` bytes, which follow.
pub(super) fn message_field(key: u8, len: usize, out: &mut Vec<u8>) {
    out.push(key);
    varint(len as u64, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
