//! Cuts a body that comes in parts into its JSON values: the messages of a stream.

/// The body ended within a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished;

/// Cuts values out of what it is fed. It looks at each byte once, and only finds where a value ends; whether it is valid
/// is for the decoder to say.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    /// Bytes that belong to values that were taken, or to none. They are dropped with the next part, not one by one: a body
    /// may be all white space, or millions of small values.
    taken: usize,
    /// Bytes that were looked at.
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    /// Appends a part of the body.
    pub fn feed(&mut self, part: &[u8]) {
        self.bytes.drain(..self.taken);
        self.seen -= self.taken;
        self.taken = 0;
        self.bytes.extend_from_slice(part);
    }

    /// The next whole value: an object or array, or what stands where one should begin.
    pub fn next_value(&mut self) -> Option<Vec<u8>> {
        while let Some(&byte) = self.bytes.get(self.seen) {
            self.seen += 1;
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b'"' => self.in_string = self.depth > 0,
                b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => {
                    self.taken = self.seen;
                    continue;
                }
                _ => {}
            }
            if self.depth == 0 {
                let value = self.bytes[self.taken..self.seen].to_vec();
                self.taken = self.seen;
                return Some(value);
            }
        }
        None
    }

    /// Bytes of a value that has not ended.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Whether the body may end here.
    ///
    /// # Errors
    /// If it ends within a value.
    pub fn finish(&self) -> Result<(), Unfinished> {
        if self.taken == self.bytes.len() { Ok(()) } else { Err(Unfinished) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(splitter: &mut Splitter) -> Vec<String> {
        std::iter::from_fn(|| splitter.next_value()).map(|v| String::from_utf8(v).expect("text")).collect()
    }

    #[test]
    fn values_end_where_their_brackets_close() {
        let mut splitter = Splitter::default();
        splitter.feed(b" {\"a\":\"}\\\"{\"}\n{\"b\":[{}]} {\"c\"");
        assert_eq!(all(&mut splitter), ["{\"a\":\"}\\\"{\"}", "{\"b\":[{}]}"]);
        assert_eq!(splitter.finish(), Err(Unfinished));
        assert_eq!(splitter.waiting_bytes(), 4);
        splitter.feed(b":1}  ");
        assert_eq!(all(&mut splitter), ["{\"c\":1}"]);
        assert_eq!(splitter.finish(), Ok(()));
        splitter.feed(b"xx");
        assert_eq!(all(&mut splitter), ["x", "x"]);
    }

    #[test]
    fn a_body_of_nothing_but_space_or_small_values_takes_its_length_not_its_square() {
        let mut splitter = Splitter::default();
        splitter.feed(&vec![b' '; 8 << 20]);
        assert_eq!(splitter.next_value(), None);
        assert_eq!(splitter.finish(), Ok(()));
        splitter.feed(&b"{}".repeat(4 << 20));
        assert_eq!(std::iter::from_fn(|| splitter.next_value()).count(), 4 << 20);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_give_the_same_values(parts: Vec<Vec<u8>>) {
            let (mut whole, mut split) = (Splitter::default(), Splitter::default());
            whole.feed(&parts.concat());
            let mut values = Vec::new();
            for part in &parts {
                split.feed(part);
                values.extend(std::iter::from_fn(|| split.next_value()));
            }
            let expected: Vec<_> = std::iter::from_fn(|| whole.next_value()).collect();
            prop_assert_eq!(values, expected);
            prop_assert_eq!(split.finish(), whole.finish());
        }
    }
}
