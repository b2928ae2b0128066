//! How the memory of a body grows while it arrives.
//!
//! A vector that doubles copies a large body again and again. Where its beginning says how long it will be, memory is reserved in
//! few steps instead; but what a peer says reserves no more than what it sends allows.

use crate::Settings;

/// A step reserves at most this many times the bytes that have arrived. So a message of 64 KiB, whose first frame mostly has
/// 16, is never moved, one of 1 MiB once; and a peer that announces much and sends little holds memory of at most this many times
/// what [`Settings::buffered_bytes_max`] lets it send.
const STEP: usize = 8;

/// Appends what arrived to a body.
pub(crate) fn append(body: &mut Vec<u8>, bytes: &[u8], settings: &Settings) {
    let len = body.len() + bytes.len();
    if len > body.capacity() {
        let front = if body.is_empty() { bytes } else { &**body };
        let announced = settings.announced_bytes.and_then(|announced| announced(front)).unwrap_or(0);
        let wanted = announced.min(len.saturating_mul(STEP)).min(settings.body_bytes_max);
        if wanted > len {
            body.reserve_exact(wanted - body.len());
        }
    }
    body.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bodies that begin with their length.
    fn settings() -> Settings {
        let announced = |front: &[u8]| Some(u32::from_be_bytes(*front.first_chunk()?) as usize);
        Settings { announced_bytes: Some(announced), body_bytes_max: 4 << 20, ..Settings::default() }
    }

    /// How often a body of `len` bytes, the first four of which say `announced`, gets memory when it comes in `pieces`.
    fn steps(len: usize, announced: u32, pieces: usize) -> usize {
        let mut sent = vec![7; len];
        sent[..4].copy_from_slice(&announced.to_be_bytes());
        let (mut body, mut steps) = (Vec::new(), 0);
        for bytes in sent.chunks(pieces) {
            let before = body.capacity();
            append(&mut body, bytes, &settings());
            assert!(body.capacity() <= STEP * body.len());
            steps += usize::from(body.capacity() != before);
        }
        assert_eq!(body, sent);
        steps
    }

    #[test]
    fn what_is_announced_is_reserved_in_few_steps() {
        assert_eq!(steps(100, 100, 16 << 10), 1);
        assert_eq!(steps(64 << 10, 64 << 10, 16 << 10), 1);
        assert_eq!(steps(1 << 20, 1 << 20, 16 << 10), 2);
        assert_eq!(steps(2 << 20, 2 << 20, 16 << 10), 3);
    }

    proptest! {
        #[test]
        fn nobody_reserves_more_than_a_multiple_of_what_he_sends(
            len in 4..100_000_usize,
            announced in prop_oneof![Just(0), Just(u32::MAX), 0..200_000_u32],
            pieces in 4..20_000_usize,
        ) {
            steps(len, announced, pieces);
        }
    }
}
