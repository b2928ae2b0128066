//! Section 4: frames; and section 6 for those that belong to a stream.

use crate::Expect::{Answered, Connection, Data, Ignored};
use crate::wire::*;
use crate::{CANCEL, Case, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, case, check};

/// Section 5.4.2 permits it, and no client can make the server reset streams this way (CVE-2025-8671).
const HARDER: &str = "a stream error; nghttp2 makes it the connection's";

/// The largest frame that a server takes which has not said otherwise.
const FRAME_BYTES_MAX: usize = 16_384;

#[test]
fn format_and_size() {
    check(vec![
        case("4.1", "a frame of unknown type", [frame(UNKNOWN, 0, 0, &[0; 8])], Ignored),
        case(
            "4.1",
            "a frame of unknown type on a stream that is idle",
            [frame(UNKNOWN, 0, 7, &[0; 8])],
            Ignored,
        ),
        case("4.1", "flags that mean nothing", [frame(PING, 0x16, 0, &[0; 8])], Ignored),
        case(
            "4.1",
            "the reserved bit of a stream's number",
            [frame(HEADERS, WHOLE, 1 | 1 << 31, REQUEST)],
            Answered(vec![1]),
        ),
        case(
            "4.2",
            "a DATA frame of the largest size",
            [open(1), frame(DATA, END_STREAM, 1, &[0; FRAME_BYTES_MAX])],
            Answered(vec![1]),
        ),
        case(
            "4.2",
            "a DATA frame that is too large",
            [open(1), frame_of_len(FRAME_BYTES_MAX + 1, DATA, END_STREAM, 1, &[])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "4.2",
            "a HEADERS frame that is too large",
            [frame_of_len(FRAME_BYTES_MAX + 1, HEADERS, WHOLE, 1, &[])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "4.3",
            "another frame within a field block",
            [frame(HEADERS, END_STREAM, 1, REQUEST), priority(1, 0)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "4.3",
            "another stream's frame within a field block",
            [frame(HEADERS, END_STREAM, 1, REQUEST), request(3)],
            Connection(PROTOCOL_ERROR),
        ),
    ]);
}

#[test]
fn data() {
    let open_until = |flags, payload: &[u8]| vec![open(1), frame(DATA, flags, 1, payload)];
    check(vec![
        case("6.1", "DATA on stream 0", [frame(DATA, END_STREAM, 0, b"x")], Connection(PROTOCOL_ERROR)),
        case("6.1", "padded DATA", open_until(PADDED | END_STREAM, &[2, b'x', 0, 0]), Answered(vec![1])),
        case("6.1", "DATA of padding alone", open_until(PADDED | END_STREAM, &[2, 0, 0]), Answered(vec![1])),
        case(
            "6.1",
            "padding as long as the payload",
            open_until(PADDED | END_STREAM, &[5, 0, 0, 0, 0]),
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.1",
            "DATA too short for the length of its padding",
            open_until(PADDED | END_STREAM, &[]),
            Connection(PROTOCOL_ERROR),
        )
        .rfc("FRAME_SIZE_ERROR (section 4.2); another code, the same end"),
        case(
            "6.1",
            "empty DATA, then the end",
            [open(1), frame(DATA, 0, 1, &[]), frame(DATA, END_STREAM, 1, &[])],
            Answered(vec![1]),
        ),
        case(
            "6.1",
            "DATA in several frames",
            [open(1), frame(DATA, 0, 1, b"a"), frame(DATA, 0, 1, b"b"), frame(DATA, END_STREAM, 1, b"c")],
            Answered(vec![1]),
        ),
    ]);
}

#[test]
fn headers_and_continuation() {
    let (block, rest) = REQUEST.split_at(1);
    let begun = |flags| frame(HEADERS, flags, 1, block);
    let go_on = |flags, stream| frame(CONTINUATION, flags, stream, rest);
    check(vec![
        case("6.2", "HEADERS on stream 0", [frame(HEADERS, WHOLE, 0, REQUEST)], Connection(PROTOCOL_ERROR)),
        case(
            "6.2",
            "padded HEADERS",
            [frame(HEADERS, WHOLE | PADDED, 1, &[&[1], REQUEST, &[0]].concat())],
            Answered(vec![1]),
        ),
        case(
            "6.2",
            "HEADERS with a priority",
            [frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 0, 9], REQUEST].concat())],
            Answered(vec![1]),
        ),
        case(
            "6.2",
            "padding longer than the payload",
            [frame(HEADERS, WHOLE | PADDED, 1, &[&[9], REQUEST].concat())],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "HEADERS too short for the priority",
            [frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0, 0])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case("6.10", "CONTINUATION", [begun(END_STREAM), go_on(END_HEADERS, 1)], Answered(vec![1])),
        case(
            "6.10",
            "several CONTINUATIONs, one of them empty",
            [
                begun(END_STREAM),
                frame(CONTINUATION, 0, 1, &[]),
                go_on(0, 1),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            Answered(vec![1]),
        ),
        case(
            "6.10",
            "DATA instead of a CONTINUATION",
            [begun(0), frame(DATA, END_STREAM, 1, b"x")],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION on stream 0",
            [begun(END_STREAM), go_on(END_HEADERS, 0)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION of another stream",
            [begun(END_STREAM), go_on(END_HEADERS, 3)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION after the block's end",
            [open(1), go_on(END_HEADERS, 1)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION after DATA",
            [open(1), frame(DATA, 0, 1, b"x"), go_on(END_HEADERS, 1)],
            Connection(PROTOCOL_ERROR),
        ),
        case("6.10", "CONTINUATION first of all", [go_on(END_HEADERS, 1)], Connection(PROTOCOL_ERROR)),
    ]);
}

#[test]
fn priority_and_reset() {
    check(vec![
        case(
            "5.3.1",
            "HEADERS that depend on their own stream",
            [frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 9], REQUEST].concat())],
            Connection(PROTOCOL_ERROR),
        )
        .rfc("nothing any more; nghttp2 keeps to RFC 7540 section 5.3.1"),
        case("5.3.1", "PRIORITY that depends on its own stream", [priority(3, 3)], Ignored),
        case(
            "6.3",
            "PRIORITY on an idle stream, then its request",
            [priority(1, 0), request(1)],
            Answered(vec![1]),
        ),
        case("6.3", "PRIORITY on a closed stream", [request(1), priority(1, 0)], Answered(vec![1])),
        case("6.3", "PRIORITY on stream 0", [priority(0, 1)], Ignored).rfc(
            "PROTOCOL_ERROR; nghttp2 looks at no PRIORITY but for its length, and counts it as a glitch",
        ),
        case(
            "6.3",
            "PRIORITY of another length than 5",
            [open(1), frame(PRIORITY, 0, 1, &[0; 4])],
            Connection(FRAME_SIZE_ERROR),
        )
        .rfc(HARDER),
        case("6.4", "RST_STREAM", [open(1), reset(1, CANCEL), request(3)], Answered(vec![3])),
        case(
            "6.4",
            "RST_STREAM with a code that nobody knows",
            [open(1), reset(1, 0xff), request(3)],
            Answered(vec![3]),
        ),
        case("6.4", "RST_STREAM on a closed stream", [request(1), reset(1, CANCEL)], Answered(vec![1])),
        case("6.4", "RST_STREAM on stream 0", [reset(0, CANCEL)], Connection(PROTOCOL_ERROR)),
        case("6.4", "RST_STREAM on an idle stream", [reset(1, CANCEL)], Connection(PROTOCOL_ERROR)),
        case(
            "6.4",
            "RST_STREAM of another length than 4",
            [open(1), frame(RST_STREAM, 0, 1, &[0; 3])],
            Connection(FRAME_SIZE_ERROR),
        ),
    ]);
}

fn one_byte_windows() -> Vec<Case> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let window = |bytes| settings(INITIAL_WINDOW_SIZE, bytes);
    vec![
        case("6.9.2", "a window of one byte", [window(1), request(1)], Data(vec![1])),
        case("6.9.2", "a window of nothing", [window(0), request(1)], Data(vec![])),
        case(
            "6.9",
            "a window that opens byte by byte",
            [window(0), request(1), window_update(1, 1), window_update(1, 1)],
            Data(vec![1, 1]),
        ),
        case("6.9.2", "a window that SETTINGS open", [window(0), request(1), window(3)], Data(vec![3])),
        case(
            "6.9.2",
            "a window that SETTINGS make negative",
            [window(2), request(1), window(0), window_update(1, 2), window_update(1, 1)],
            Data(vec![2, 1]),
        ),
    ]
}

#[test]
fn windows() {
    const LARGEST: u32 = (1 << 31) - 1;
    let mut cases = one_byte_windows();
    cases.extend([
        case(
            "6.9",
            "an increment of 0 for the connection",
            [window_update(0, 0)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.9",
            "an increment of 0 for a stream",
            [open(1), window_update(1, 0)],
            Connection(PROTOCOL_ERROR),
        )
        .rfc(HARDER),
        case(
            "6.9",
            "WINDOW_UPDATE of another length than 4",
            [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "6.9",
            "WINDOW_UPDATE on a stream that the client has ended",
            [request(1), window_update(1, 9)],
            Answered(vec![1]),
        ),
        case(
            "6.9.1",
            "a connection's window above 2^31-1",
            [window_update(0, LARGEST)],
            Connection(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window above 2^31-1",
            [open(1), window_update(1, LARGEST)],
            Connection(FLOW_CONTROL_ERROR),
        )
        .rfc(HARDER),
        case(
            "6.9.2",
            "SETTINGS with a window above 2^31-1",
            [settings(4, 1 << 31)],
            Connection(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.2",
            "SETTINGS that lift a stream's window above 2^31-1",
            [settings(4, 0), open(1), window_update(1, LARGEST), settings(4, 1)],
            Connection(FLOW_CONTROL_ERROR),
        ),
    ]);
    check(cases);
}

#[test]
fn a_client_that_sends_beyond_its_window() {
    let full = |stream| frame(DATA, 0, stream, &[0; FRAME_BYTES_MAX]);
    // The windows of this test's server are 65,535 bytes, and it gives a stream credit for what it has taken in.
    let flood: Vec<u8> = (0..40).flat_map(|_| full(1)).collect();
    let outcome = crate::run(&crate::first(), &[open(1), flood], usize::MAX);
    assert!(outcome.is(&Connection(FLOW_CONTROL_ERROR)), "{outcome:?}");
}
