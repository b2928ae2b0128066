//! Makes the bytes of a frame, without copying what is large.

use bytes::Bytes;
use crc32fast::Hasher;

use crate::frame::{HEADER_BYTES, Header, Kind, PART_ALIGN};

/// A part up to this size is copied behind the record: cheaper than a slice of its own in a vectored write.
const COPIED_BYTES_MAX: usize = 1024;

/// A frame to be written: its head, and the parts that it shares with others.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    head: Vec<u8>,
    shared: Vec<Bytes>,
}

impl Packet {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.shared.iter().map(Bytes::len).sum::<usize>()
    }

    /// The pieces to write, in order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(Bytes::from(self.head)).chain(self.shared)
    }

    /// All of it in one piece; copies.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.head);
        for part in &self.shared {
            bytes.extend_from_slice(part);
        }
    }

    #[cfg(test)]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}

/// Bytes of the body of a frame with such parts.
pub(crate) fn body_len(record: &[u8], parts: &[Bytes]) -> usize {
    parts.iter().fold(record.len(), |len, part| len.next_multiple_of(PART_ALIGN) + part.len())
}

/// A frame of a record and of parts that follow it. The body must be shorter than 4 GiB.
pub(crate) fn pack(kind: Kind, record: &[u8], parts: &[Bytes]) -> Packet {
    let body_len = body_len(record, parts);
    let copied: usize = parts.iter().map(Bytes::len).take_while(|len| *len <= COPIED_BYTES_MAX).sum();
    let mut head =
        Vec::with_capacity(HEADER_BYTES + record.len() + copied.min(body_len) + parts.len() * PART_ALIGN);
    head.resize(HEADER_BYTES, 0);
    head.extend_from_slice(record);
    let record_len = if parts.is_empty() { record.len() } else { record.len().next_multiple_of(PART_ALIGN) };
    let mut shared = Vec::new();
    let mut at = record.len();
    for part in parts {
        let padding = at.next_multiple_of(PART_ALIGN) - at;
        at += padding + part.len();
        if shared.is_empty() && part.len() <= COPIED_BYTES_MAX {
            head.resize(head.len() + padding, 0);
            head.extend_from_slice(part);
            continue;
        }
        if shared.is_empty() {
            head.resize(head.len() + padding, 0);
        } else if padding > 0 {
            shared.push(Bytes::from_static(&[0; PART_ALIGN][..padding]));
        }
        shared.push(part.clone());
    }
    let mut hasher = Hasher::new();
    hasher.update(&head[HEADER_BYTES..]);
    shared.iter().for_each(|part| hasher.update(part));
    let header = Header {
        kind,
        record_len: wire_len(record_len),
        body_len: wire_len(body_len),
        body_crc: hasher.finalize(),
    };
    head[..HEADER_BYTES].copy_from_slice(&header.encode());
    Packet { head, shared }
}

fn wire_len(len: usize) -> u32 {
    u32::try_from(len).expect("a frame of less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_where_they_should_be(
            record: Vec<u8>,
            lens in prop::collection::vec(prop_oneof![0..40_usize, 1000..1050_usize], 0..6),
        ) {
            let parts: Vec<Bytes> =
                lens.iter().enumerate().map(|(i, len)| Bytes::from(vec![i as u8 + 1; *len])).collect();
            let packet = pack(Kind::Raft, &record, &parts);
            let bytes = packet.to_vec();
            prop_assert_eq!(bytes.len(), packet.len());
            let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();
            let body = &bytes[HEADER_BYTES..];
            prop_assert_eq!(body.len(), header.body_len as usize);
            prop_assert_eq!(body.len(), body_len(&record, &parts));
            prop_assert_eq!(&body[..record.len()], &record[..]);
            let mut at = header.record_len as usize;
            for part in &parts {
                at = at.next_multiple_of(PART_ALIGN);
                prop_assert_eq!(&body[at..at + part.len()], &part[..]);
                at += part.len();
            }
            prop_assert_eq!(at, body.len());
        }
    }

    #[test]
    fn large_parts_are_not_copied() {
        let part = Bytes::from(vec![1; 5000]);
        let pieces: Vec<Bytes> =
            pack(Kind::Raft, &[9; 16], &[part.clone(), part.clone()]).into_pieces().collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces[1..].iter().all(|piece| piece.as_ptr() == part.as_ptr()));
    }
}
