//! RFC 7541: header compression.

use crate::Expect::{Answered, Connection};
use crate::wire::*;
use crate::{COMPRESSION_ERROR, Case, case, check};

/// A request whose block ends with `more`.
fn with(section: &'static str, name: &'static str, more: &[u8], expects: crate::Expect) -> Case {
    case(section, name, [frame(HEADERS, WHOLE, 1, &[REQUEST, more].concat())], expects)
}

#[test]
fn representations() {
    let good = || Answered(vec![1]);
    check(vec![
        with("hpack 6.1", "indexed", &[0x90], good()),
        with("hpack 6.2.1", "literal that enters the table, its name indexed", &[0x7a, 1, b'x'], good()),
        with("hpack 6.2.1", "literal that enters the table, its name new", &[0x40, 1, b'a', 1, b'b'], good()),
        with("hpack 2.3.2", "the first entry of the dynamic table", &[0x40, 1, b'a', 1, b'b', 0xbe], good()),
        with("hpack 6.2.2", "literal that does not enter, its name indexed", &[0x0f, 43, 1, b'x'], good()),
        with("hpack 6.2.3", "literal that never enters, its name new", &[0x10, 1, b'a', 1, b'b'], good()),
        with("hpack 5.2", "Huffman's code, padded with ones", &[0, 0x81, 0x1f, 0x81, 0x1f], good()),
    ]);
}

#[test]
fn errors() {
    let bad = |section, name, more: &[u8]| with(section, name, more, Connection(COMPRESSION_ERROR));
    check(vec![
        bad("hpack 2.3.3", "an index beyond both tables", &[0xbe]),
        bad("hpack 2.3.3", "a name's index beyond both tables", &[0x7e, 1, b'x']),
        bad("hpack 5.1", "an integer of too many bytes", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        bad("hpack 5.2", "Huffman's padding longer than 7 bits", &[0, 1, b'a', 0x82, 0x1f, 0xff]),
        bad("hpack 5.2", "Huffman's padding of zeros", &[0, 1, b'a', 0x81, 0x18]),
        bad("hpack 5.2", "Huffman's end of string", &[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
        bad("hpack 5.2", "a string longer than its block", &[0, 1, b'a', 9, b'x']),
        bad("hpack 6.1", "index 0", &[0x80]),
        bad("hpack 6.3", "a table size above the announced one", &[0x3f, 0xe2, 0x1f]),
        bad("hpack 4.2", "a table size after a field", &[0x20]),
    ]);
    let size_first = |size: &[u8]| frame(HEADERS, WHOLE, 1, &[size, REQUEST].concat());
    check(vec![
        case("hpack 4.2", "a table size before the fields", [size_first(&[0x20])], Answered(vec![1])),
        case(
            "hpack 6.3",
            "a table size above the announced one, first",
            [size_first(&[0x3f, 0xe2, 0x1f])],
            Connection(COMPRESSION_ERROR),
        ),
    ]);
}
