//! Section 10.5: frames that cost the server work and bring nothing. Each flood ends the connection, and what comes
//! after it is not looked at.

use windlass_http2::Settings;

use crate::Expect::{Connection, Data, Stream};
use crate::wire::*;
use crate::{CANCEL, PROTOCOL_ERROR, case, check, first, run};

const ENHANCE_YOUR_CALM: u32 = 11;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One more of what `nth` gives than is allowed at once, and a request.
fn flood(burst: u64, nth: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let burst = u32::try_from(burst).expect("bounded");
    (0..=burst).flat_map(nth).chain(request(2 * burst + 3)).collect()
}

#[test]
fn floods_end_the_connection() {
    let Settings { resets_burst, settings_burst, idle_burst, .. } = Settings::default();
    let malformed = |i| frame(HEADERS, WHOLE, 1 + 2 * i, &[]);
    let floods = [
        (
            "RST_STREAM (CVE-2023-44487)",
            flood(resets_burst, |i| [open(1 + 2 * i), reset(1 + 2 * i, CANCEL)].concat()),
        ),
        // Counted when they are sent, which is after the piece.
        ("RST_STREAM provoked (CVE-2025-8671)", flood(resets_burst + 100, malformed)),
        ("SETTINGS", flood(settings_burst, |i| settings(INITIAL_WINDOW_SIZE, i))),
        ("WINDOW_UPDATE", flood(idle_burst, |_| window_update(0, 1))),
        ("acknowledgements of no PING", flood(idle_burst, |_| frame(PING, ACK, 0, &[0; 8]))),
    ];
    for (name, bytes) in floods {
        // The server answers a piece before it takes in the next, so that no stream is refused.
        let outcome = run(&first(), &[bytes], 512);
        assert!(outcome.is(&Connection(ENHANCE_YOUR_CALM)), "{name}: {:?}", outcome.frames.last());
        assert!(outcome.answered().is_empty(), "{name}");
    }
}

/// CVE-2024-27316. nghttp2 gives up at once; the GOAWAY is the session's own.
#[test]
fn a_block_of_too_many_parts_ends_the_connection() {
    let most = Settings::default().continuations_max;
    let begun = || frame(HEADERS, END_STREAM, 1, REQUEST);
    let parts = |count| (0..count).flat_map(|_| frame(CONTINUATION, 0, 1, &[])).collect::<Vec<u8>>();
    check(vec![
        case(
            "10.5",
            "as many as are allowed",
            [begun(), parts(most - 1), frame(CONTINUATION, END_HEADERS, 1, &[])],
            Data(vec![5]),
        ),
        case("10.5", "many more", [begun(), parts(10 * most + 1)], Connection(ENHANCE_YOUR_CALM)),
    ]);
}

/// RFC 9113 section 6.5.2 makes the size of a header list advice; a client that ignores it loses the stream.
#[test]
fn a_header_list_beyond_the_bound_resets_its_stream() {
    const INTERNAL_ERROR: u32 = 2;
    // An entry of 4,000 bytes in the dynamic table, and then its number, again and again.
    let entry = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [REQUEST, &entry, &[0xbe; 10_000]].concat();
    check(vec![
        case("10.5.1", "an HPACK bomb", [frame(HEADERS, WHOLE, 1, &bomb)], Stream(1, INTERNAL_ERROR)),
        case("8.1.1", "a malformed request", [frame(HEADERS, WHOLE, 1, &[])], Stream(1, PROTOCOL_ERROR)),
    ]);
}
