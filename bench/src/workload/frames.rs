//! A gRPC frame that is encoded once, and into which only keys and times are written afterwards.

use prost::Message;

use super::{Place, Request, Shape};
use crate::keys::{self, Keys};

/// Bytes before a gRPC message: a flag for compression and the length.
pub const PREFIX_BYTES: usize = 5;
/// Digits of the time at the beginning of a stamped value.
pub const STAMP_BYTES: usize = 16;

/// A frame with places for keys.
#[derive(Clone, Debug)]
pub struct Template {
    path: &'static str,
    frame: Vec<u8>,
    /// Where a key is, and which of the request's keys.
    places: Vec<(Place, u64)>,
    keys: Option<Keys>,
    keys_per_request: u64,
    stamp: Option<Place>,
}

impl Template {
    /// Always the same.
    pub fn fixed(path: &'static str, message: &impl Message) -> Self {
        let frame = frame(message);
        Self { path, frame, places: Vec::new(), keys: None, keys_per_request: 1, stamp: None }
    }

    /// `build` makes the message for `count` keys. Where they are in the frame is found by building it with other keys
    /// and looking at what has changed.
    pub fn new<M: Message>(
        path: &'static str,
        shape: &Shape,
        count: usize,
        build: impl Fn(&[Vec<u8>]) -> M,
    ) -> Self {
        let blank = vec![vec![b'0'; shape.key_bytes]; count];
        let plain = frame(&build(&blank));
        let mut places = Vec::new();
        for which in 0..count {
            let mut marked = blank.clone();
            marked[which].fill(b'1');
            places.extend(runs(&plain, &frame(&build(&marked))).map(|place| (place, which as u64)));
        }
        assert!(places.iter().all(|(place, _)| place.len() == shape.key_bytes), "keys do not touch");
        let keys = Some(shape.keys.clone());
        Self { path, frame: plain, places, keys, keys_per_request: count as u64, stamp: None }
    }

    /// With the time in the first bytes of `value`, which is in the frame.
    pub fn stamped(mut self, value: &[u8]) -> Self {
        assert!(value.len() >= STAMP_BYTES, "flags give stamped values room");
        let at = self.frame.windows(value.len()).rposition(|window| window == value);
        let at = at.expect("the value is in the frame");
        self.stamp = Some(at..at + STAMP_BYTES);
        self
    }

    /// Request `number`.
    pub fn request(&mut self, number: u64, due_ns: u64, class: usize) -> Request<'_> {
        if let Some(keys) = &self.keys {
            let first = number * self.keys_per_request;
            for (place, which) in &self.places {
                keys::write(keys.key_of(first + which), &mut self.frame[place.clone()]);
            }
        }
        if let Some(place) = &self.stamp {
            keys::write(due_ns, &mut self.frame[place.clone()]);
        }
        Request { path: self.path, frame: &self.frame, class, chain: None }
    }
}

/// A message as a gRPC frame.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let len = u32::try_from(message.encoded_len()).expect("flags bound keys and values far below 4 GiB");
    let mut out = Vec::with_capacity(PREFIX_BYTES + len as usize);
    out.push(0);
    out.extend_from_slice(&len.to_be_bytes());
    message.encode(&mut out).expect("a Vec grows");
    out
}

/// The runs of bytes in which two frames of the same length differ.
fn runs<'a>(one: &'a [u8], two: &'a [u8]) -> impl Iterator<Item = Place> + 'a {
    assert_eq!(one.len(), two.len(), "keys of the same length make frames of the same length");
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at + (at..one.len()).position(|place| one[place] != two[place])?;
        let end = (begin..one.len()).find(|&place| one[place] == two[place]).unwrap_or(one.len());
        at = end;
        Some(begin..end)
    })
}
