//! Section 5: the states of streams, their numbers, how many there may be.

use crate::Expect::{Answered, Connection, Ignored, Stream};
use crate::wire::*;
use crate::{CANCEL, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, case, check};

/// Section 5.4.2 permits it.
const HARDER: &str = "a stream error; nghttp2 makes it the connection's";

/// Such frames are glitches, of which a client may send only so many.
const FORGOTTEN: &str = "STREAM_CLOSED; nghttp2 forgets closed streams, and drops what comes on them";

#[test]
fn idle() {
    let idle = |name, bytes| case("5.1", name, [bytes], Connection(PROTOCOL_ERROR));
    check(vec![
        idle("idle: DATA", frame(DATA, END_STREAM, 1, b"x")),
        idle("idle: RST_STREAM", reset(1, CANCEL)),
        idle("idle: WINDOW_UPDATE", window_update(1, 100)),
        idle("idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, REQUEST)),
    ]);
}

#[test]
fn half_closed_and_closed() {
    let closed = |name, bytes, expects| case("5.1", name, [open(1), reset(1, CANCEL), bytes], expects);
    check(vec![
        case(
            "5.1",
            "half closed: DATA",
            [half_closed(1), frame(DATA, 0, 1, b"x")],
            Connection(STREAM_CLOSED),
        )
        .rfc(HARDER),
        case("5.1", "half closed: HEADERS", [half_closed(1), request(1)], Connection(STREAM_CLOSED))
            .rfc(HARDER),
        case("5.1", "half closed: WINDOW_UPDATE", [half_closed(1), window_update(1, 9)], Ignored),
        case("5.1", "half closed: PRIORITY", [half_closed(1), priority(1, 0)], Ignored),
        case(
            "5.1",
            "half closed: RST_STREAM",
            [half_closed(1), reset(1, CANCEL), request(3)],
            Answered(vec![3]),
        ),
        closed("closed by RST_STREAM: DATA", frame(DATA, END_STREAM, 1, b"x"), Ignored).rfc(FORGOTTEN),
        closed("closed by RST_STREAM: HEADERS", request(1), Ignored).rfc(FORGOTTEN),
        closed(
            "closed by RST_STREAM: CONTINUATION",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "closed by its end: DATA",
            [request(1), frame(DATA, END_STREAM, 1, b"x")],
            Answered(vec![1]),
        )
        .rfc(FORGOTTEN),
        case("5.1", "closed by its end: HEADERS", [request(1), request(1)], Answered(vec![1])).rfc(FORGOTTEN),
        case("5.1", "closed by its end: WINDOW_UPDATE", [request(1), window_update(1, 1)], Answered(vec![1])),
    ]);
}

#[test]
fn numbers_and_concurrency() {
    let many: Vec<u8> = (0..101).flat_map(|i| open(1 + 2 * i)).collect();
    check(vec![
        case("5.1.1", "a stream with an even number", [request(2)], Connection(PROTOCOL_ERROR)),
        case("5.1.1", "a number below an earlier one", [request(5), request(3)], Answered(vec![5]))
            .rfc("PROTOCOL_ERROR; to nghttp2 a stream that was passed over is one that it has forgotten"),
        case(
            "5.1.1",
            "numbers may be left out",
            [request(1), request(7), request(9)],
            Answered(vec![1, 7, 9]),
        ),
        case("5.1.2", "more streams than are allowed", [many.clone()], Stream(201, REFUSED_STREAM)),
        case(
            "5.1.2",
            "the same once the bound is acknowledged",
            [[frame(SETTINGS, ACK, 0, &[]), many].concat()],
            Connection(PROTOCOL_ERROR),
        )
        .rfc(HARDER),
    ]);
}
