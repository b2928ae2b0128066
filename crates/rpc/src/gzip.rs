//! Messages that a client compressed with gzip. Answers are never compressed: they are small, and the CPU is dearer than
//! the wire between a client and its member.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use windlass_types::Code;

use crate::status::Status;

/// Appends what `compressed` holds to `out`: at most `message_bytes_max` bytes, refused beyond in grpc-go's words. What
/// is taken from memory is bounded by that too, whatever the stream claims to be.
pub(crate) fn inflate(compressed: &[u8], message_bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Status> {
    let start = out.len();
    let bound = message_bytes_max as u64 + 1;
    if let Err(error) = MultiGzDecoder::new(compressed).take(bound).read_to_end(out) {
        let text = format!("grpc: failed to decompress the received message: {error}");
        return Err(Status::new(Code::Internal, text));
    }
    let len = out.len() - start;
    if len > message_bytes_max {
        let text = format!(
            "grpc: received message after decompression larger than max ({len} vs. {message_bytes_max})"
        );
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn deflate(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).expect("a vector takes any bytes");
        encoder.finish().expect("a vector takes any bytes")
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(message: Vec<u8>) {
            let mut out = b"before".to_vec();
            prop_assert_eq!(inflate(&deflate(&message), message.len(), &mut out), Ok(()));
            prop_assert_eq!(&out[6..], &message[..]);
        }

        #[test]
        fn any_bytes_are_inflated_or_refused(bytes: Vec<u8>, cut: u8, flip: u8) {
            let _ = inflate(&bytes, 1000, &mut Vec::new());
            let mut damaged = deflate(&bytes);
            let at = usize::from(flip) % damaged.len();
            damaged[at] ^= 1 << (cut % 8);
            damaged.truncate(damaged.len() - usize::from(cut) % damaged.len());
            let _ = inflate(&damaged, 1000, &mut Vec::new());
        }
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_bound() {
        let mut out = Vec::new();
        let refused = inflate(&deflate(&vec![0; 64 << 20]), 1000, &mut out).expect_err("too large");
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert_eq!(out.len(), 1001);
        assert!(out.capacity() < 1 << 16, "{}", out.capacity());
    }
}
