//! How a view reads the fields of an encoded message where they lie.
//!
//! What reads here must be read the same by a full decoding. Nothing here need read all that a full decoding can: where it
//! steps back (`None`), the caller decodes.

use crate::task::Span;

/// The field of bytes whose length begins at `at`, which then is behind it.
pub(crate) fn bytes(message: &[u8], at: &mut usize) -> Option<Span> {
    let len = varint(message, at)?;
    let start = *at;
    *at = start.checked_add(usize::try_from(len).ok()?).filter(|&end| end <= message.len())?;
    Some(Span { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
}

/// The number that begins at `at`, which then is behind it: up to nine bytes, so none that is negative.
pub(crate) fn varint(message: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
