//! Makes frames of the bytes of a connection, in whatever pieces they come. Knows no socket.

use bytes::Bytes;

use crate::frame::{Fault, HEADER_BYTES, Header, RawFrame};

/// What is read at once. Small frames are cut out of it; a body that is a good part of it, or larger, is read into its
/// own place directly.
const BUFFER_BYTES: usize = 64 << 10;
/// A body up to this size waits in the buffer until it is whole.
const SMALL_BYTES: usize = BUFFER_BYTES / 4;

/// The receiving end of one connection. Memory: the buffer and one body of at most `body_bytes_max`.
#[derive(Debug)]
pub(crate) struct Assembler {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// A body that is read directly. While there is one, the buffer is empty.
    large: Option<Large>,
    body_bytes_max: usize,
}

#[derive(Debug)]
struct Large {
    header: Header,
    body: Vec<u8>,
    filled: usize,
}

impl Assembler {
    pub fn new(body_bytes_max: usize) -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            large: None,
            body_bytes_max,
        }
    }

    /// What is taken from here on: more when it is known who sends.
    pub fn set_body_bytes_max(&mut self, bytes_max: usize) {
        self.body_bytes_max = bytes_max;
    }

    /// Where the next bytes go; never empty, if all whole frames were taken out.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some(large) = &mut self.large {
            return &mut large.body[large.filled..];
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > BUFFER_BYTES / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes of [`space`](Self::space) were filled.
    pub fn filled(&mut self, len: usize) {
        match &mut self.large {
            Some(large) => large.filled += len,
            None => self.end += len,
        }
    }

    /// The next whole frame.
    pub fn next(&mut self) -> Result<Option<RawFrame>, Fault> {
        if let Some(large) = &self.large {
            if large.filled < large.body.len() {
                return Ok(None);
            }
            let Some(large) = self.large.take() else { return Ok(None) };
            return whole(large.header, large.body).map(Some);
        }
        let Some(header) = self.buffer[self.start..self.end].first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::parse(header)?;
        let body_len = header.body_len as usize;
        if body_len > self.body_bytes_max {
            return Err(Fault::TooLarge { bytes: body_len, bytes_max: self.body_bytes_max });
        }
        let begun = &self.buffer[self.start + HEADER_BYTES..self.end];
        if begun.len() >= body_len {
            let body = begun[..body_len].to_vec();
            self.start += HEADER_BYTES + body_len;
            return whole(header, body).map(Some);
        }
        if body_len > SMALL_BYTES {
            let filled = begun.len();
            let mut body = vec![0; body_len];
            body[..filled].copy_from_slice(begun);
            (self.start, self.end) = (0, 0);
            self.large = Some(Large { header, body, filled });
        }
        Ok(None)
    }
}

fn whole(header: Header, body: Vec<u8>) -> Result<RawFrame, Fault> {
    if crc32fast::hash(&body) != header.body_crc {
        return Err(Fault::BodyChecksum);
    }
    Ok(RawFrame { kind: header.kind, record_len: header.record_len as usize, body: Bytes::from(body) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Kind;
    use crate::pack::pack;

    /// Feeds `bytes` in pieces of the given sizes, in turn.
    fn feed(assembler: &mut Assembler, mut bytes: &[u8], pieces: &[usize]) -> Result<Vec<RawFrame>, Fault> {
        let mut frames = Vec::new();
        for piece in pieces.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let space = assembler.space();
            let len = (*piece).max(1).min(space.len()).min(bytes.len());
            assert!(len > 0);
            space[..len].copy_from_slice(&bytes[..len]);
            assembler.filled(len);
            bytes = &bytes[len..];
            while let Some(frame) = assembler.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn frame_bytes(body_len: usize, fill: u8) -> Vec<u8> {
        pack(Kind::Forward, &[], &[Bytes::from(vec![fill; body_len])]).to_vec()
    }

    fn any_len() -> impl Strategy<Value = usize> {
        prop_oneof![0..200_usize, SMALL_BYTES - 50..SMALL_BYTES + 50, BUFFER_BYTES - 50..BUFFER_BYTES * 3]
    }

    proptest! {
        #[test]
        fn frames_come_whole_however_they_are_cut(
            lens in prop::collection::vec(any_len(), 1..8),
            pieces in prop::collection::vec(1..100_000_usize, 1..8),
        ) {
            let all: Vec<u8> = lens.iter().enumerate().flat_map(|(i, len)| frame_bytes(*len, i as u8)).collect();
            let mut assembler = Assembler::new(1 << 20);
            let frames = feed(&mut assembler, &all, &pieces).unwrap();
            let got: Vec<_> = frames.iter().map(|f| f.body.len()).collect();
            prop_assert_eq!(got, lens);
            for (i, frame) in frames.iter().enumerate() {
                prop_assert!(frame.body.iter().all(|b| *b == i as u8));
            }
        }

        #[test]
        fn damage_never_gives_a_frame_that_was_not_sent(
            lens in prop::collection::vec(0..3000_usize, 1..6),
            at: prop::sample::Index,
            with: u8,
        ) {
            let sent: Vec<u8> = lens.iter().enumerate().flat_map(|(i, len)| frame_bytes(*len, i as u8)).collect();
            let mut damaged = sent.clone();
            let at = at.index(damaged.len());
            prop_assume!(damaged[at] != with);
            damaged[at] = with;
            let got = feed(&mut Assembler::new(1 << 20), &damaged, &[usize::MAX]);
            prop_assert!(got.is_err());
        }

        #[test]
        fn no_bytes_can_panic(noise: Vec<u8>, pieces in prop::collection::vec(1..64_usize, 1..8)) {
            let _ = feed(&mut Assembler::new(1 << 20), &noise, &pieces);
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_memory_is_taken() {
        let mut assembler = Assembler::new(1000);
        let fault = feed(&mut assembler, &frame_bytes(1001, 1), &[100]).unwrap_err();
        assert_eq!(fault, Fault::TooLarge { bytes: 1001, bytes_max: 1000 });
        assert!(assembler.large.is_none());
    }

    #[test]
    fn bodies_are_aligned_as_their_records_need() {
        for len in [8, 100, 5000, 100_000] {
            let frames = feed(&mut Assembler::new(1 << 20), &frame_bytes(len, 0), &[usize::MAX]).unwrap();
            assert_eq!(frames[0].body.as_ptr() as usize % 8, 0, "a body of {len} bytes");
        }
    }
}
