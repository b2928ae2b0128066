//! What the requests say. They differ in their keys alone, all of one length: so one is encoded, and for each request
//! the key is written over it in place.

use std::ops::Range;

use prost::Message;
use windlass_api::etcdserverpb::{PutRequest, RangeRequest};
use windlass_api::method;

use crate::keys::{self, Keys};
use crate::random::Random;

/// Bytes before a gRPC message: a flag for compression and the length.
pub const PREFIX_BYTES: usize = 5;

/// The position of [`Random`] from which values come; no request has this number.
const VALUE_POSITION: u64 = u64::MAX;

/// Requests of one kind.
#[derive(Clone, Debug)]
pub struct Workload {
    path: &'static str,
    /// A whole gRPC frame.
    frame: Vec<u8>,
    /// Where the key is in `frame` and how it is chosen; `None` if it is always the same.
    keys: Option<(Range<usize>, Keys)>,
}

impl Workload {
    /// Puts of `key_bytes` long keys; all have one value of `value_bytes`, made from `seed`.
    pub fn put(keys: Keys, key_bytes: usize, value_bytes: usize, seed: u64) -> Self {
        let mut random = Random::at(seed, VALUE_POSITION);
        let value: Vec<u8> = (0..value_bytes).map(|_| random.next() as u8).collect();
        let request =
            PutRequest { key: vec![b'0'; key_bytes].into(), value: value.into(), ..Default::default() };
        Self::with_keys(method::kv::PUT, &request, key_bytes, keys)
    }

    /// Gets of single keys as [`Self::put`] writes them.
    pub fn get(keys: Keys, key_bytes: usize, serializable: bool) -> Self {
        let request = RangeRequest { key: vec![b'0'; key_bytes].into(), serializable, ..Default::default() };
        Self::with_keys(method::kv::RANGE, &request, key_bytes, keys)
    }

    /// One and the same range: from `key` to below `end`, or `key` alone.
    pub fn range(key: &str, end: &str, serializable: bool) -> Self {
        let request = RangeRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            serializable,
            ..Default::default()
        };
        Self { path: method::kv::RANGE, frame: frame(&request), keys: None }
    }

    fn with_keys(path: &'static str, request: &impl Message, key_bytes: usize, keys: Keys) -> Self {
        let frame = frame(request);
        // The key is the message's first field: its tag, its length, then itself.
        let from = PREFIX_BYTES + 1 + prost::length_delimiter_len(key_bytes);
        let place = from..from + key_bytes;
        assert!(frame[place.clone()].iter().all(|&byte| byte == b'0'), "the key is where it is written");
        Self { path, frame, keys: Some((place, keys)) }
    }

    /// The method's path.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The gRPC frame of request `number`, good until the next call.
    pub fn request(&mut self, number: u64) -> &[u8] {
        if let Some((place, keys)) = &self.keys {
            keys::write(keys.key_of(number), &mut self.frame[place.clone()]);
        }
        &self.frame
    }
}

fn frame(request: &impl Message) -> Vec<u8> {
    let len = u32::try_from(request.encoded_len()).expect("flags bound keys and values far below 4 GiB");
    let mut out = Vec::with_capacity(PREFIX_BYTES + len as usize);
    out.push(0);
    out.extend_from_slice(&len.to_be_bytes());
    request.encode(&mut out).expect("a Vec grows");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Spread;

    fn decode<M: Message + Default>(frame: &[u8]) -> M {
        let (prefix, message) = frame.split_first_chunk::<PREFIX_BYTES>().expect("has a prefix");
        assert_eq!(prefix[0], 0);
        assert_eq!(prefix[1..], u32::try_from(message.len()).expect("small").to_be_bytes());
        M::decode(message).expect("is a message")
    }

    #[test]
    fn puts_differ_in_their_keys_alone() {
        // 200 bytes: the length takes two bytes on the wire.
        for key_bytes in [1, 8, 200] {
            let keys = Keys::new(3, Spread::Sequential, 0);
            let mut workload = Workload::put(keys, key_bytes, 300, 9);
            let puts: Vec<PutRequest> = (0..4).map(|number| decode(workload.request(number))).collect();
            for (number, put) in puts.iter().enumerate() {
                assert_eq!(put.key, format!("{:0key_bytes$}", number % 3).as_bytes());
                assert_eq!((put.value.len(), &put.value), (300, &puts[0].value));
            }
        }
    }

    #[test]
    fn ranges_are_as_asked_for() {
        let range: RangeRequest = decode(Workload::range("a", "b", true).request(5));
        assert_eq!((&*range.key, &*range.range_end, range.serializable), (&b"a"[..], &b"b"[..], true));
        let keys = Keys::new(100, Spread::Sequential, 0);
        let range: RangeRequest = decode(Workload::get(keys, 4, false).request(42));
        assert_eq!((&*range.key, range.range_end.len(), range.serializable), (&b"0042"[..], 0, false));
    }
}
