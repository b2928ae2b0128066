//! Section 6: frames of the connection.

use crate::Expect::{Acknowledged, Answered, Connection, Ignored};
use crate::wire::*;
use crate::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, case, check};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

#[test]
fn settings_frames() {
    check(vec![
        case("6.5.3", "SETTINGS", [settings(HEADER_TABLE_SIZE, 0)], Acknowledged(SETTINGS, vec![])),
        case(
            "6.5",
            "an acknowledgement with a payload",
            [frame(SETTINGS, ACK, 0, &[0])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case(
            "6.5",
            "an acknowledgement of nothing",
            [frame(SETTINGS, ACK, 0, &[]), frame(SETTINGS, ACK, 0, &[]), request(1)],
            Connection(PROTOCOL_ERROR),
        ),
        case("6.5", "SETTINGS on a stream", [frame(SETTINGS, 0, 1, &[])], Connection(PROTOCOL_ERROR)),
        case(
            "6.5",
            "a length that is no multiple of 6",
            [frame(SETTINGS, 0, 0, &[0; 5])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case("6.5.2", "ENABLE_PUSH of 2", [settings(ENABLE_PUSH, 2)], Connection(PROTOCOL_ERROR)),
        case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE above 2^31-1",
            [settings(INITIAL_WINDOW_SIZE, 1 << 31)],
            Connection(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.5.2",
            "MAX_FRAME_SIZE below 2^14",
            [settings(MAX_FRAME_SIZE, (1 << 14) - 1)],
            Connection(PROTOCOL_ERROR),
        ),
        case(
            "6.5.2",
            "MAX_FRAME_SIZE above 2^24-1",
            [settings(MAX_FRAME_SIZE, 1 << 24)],
            Connection(PROTOCOL_ERROR),
        ),
        case("6.5.2", "a setting that nobody knows", [settings(0xff, 1)], Acknowledged(SETTINGS, vec![])),
        case(
            "6.5.3",
            "the last of two values counts",
            [
                frame(
                    SETTINGS,
                    0,
                    0,
                    &[setting(INITIAL_WINDOW_SIZE, 0), setting(INITIAL_WINDOW_SIZE, 9)].concat(),
                ),
                request(1),
            ],
            Answered(vec![1]),
        ),
    ]);
}

#[test]
fn push_ping_goaway() {
    let promise = [&[0, 0, 0, 2], REQUEST].concat();
    check(vec![
        case(
            "8.4",
            "a client's PUSH_PROMISE",
            [open(1), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            Connection(PROTOCOL_ERROR),
        ),
        case("6.7", "PING", [frame(PING, 0, 0, b"12345678")], Acknowledged(PING, b"12345678".to_vec())),
        case("6.7", "an acknowledgement of a PING that never was", [frame(PING, ACK, 0, &[0; 8])], Ignored),
        case("6.7", "PING on a stream", [frame(PING, 0, 1, &[0; 8])], Connection(PROTOCOL_ERROR)),
        case(
            "6.7",
            "PING of another length than 8",
            [frame(PING, 0, 0, &[0; 6])],
            Connection(FRAME_SIZE_ERROR),
        ),
        case("6.8", "GOAWAY on a stream", [frame(GOAWAY, 0, 1, &[0; 8])], Connection(PROTOCOL_ERROR)),
        case("6.8", "GOAWAY that is too short", [frame(GOAWAY, 0, 0, &[0; 7])], Connection(FRAME_SIZE_ERROR)),
        case(
            "7",
            "GOAWAY with a code that nobody knows, within a request",
            [open(1), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])],
            Ignored,
        ),
    ]);
}
