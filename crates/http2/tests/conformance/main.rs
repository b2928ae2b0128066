//! What a server's session does with each thing that RFC 9113 (HTTP/2) and RFC 7541 (HPACK) say about a client's frames,
//! case by case in the order of the sections, after the cases of h2spec. Each case is fed whole and byte by byte.

mod connection;
mod floods;
mod frames;
mod hpack;
mod requests;
mod streams;
mod wire;

use std::time::Instant;

use windlass_http2::{CLIENT_PREFACE, Error, Field, ServerSession, Settings, Trailers};
use wire::{ACK, END_STREAM, Frame};

const HEAD: &[Field<'static>] = &[Field::constant(":status", "200")];
const TRAILERS: &[Field<'static>] = &[Field::constant("grpc-status", "0")];
const BODY: &[u8] = b"hello";

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;

/// One case.
struct Case {
    /// Of RFC 9113, or of RFC 7541 with `hpack` before it.
    section: &'static str,
    /// What the client does.
    name: &'static str,
    /// What it sends after its preface and SETTINGS, in steps: the server answers after each.
    sends: Vec<Vec<u8>>,
    expects: Expect,
    /// What the RFC says, where nghttp2 does something else; and why that does no harm.
    rfc: Option<&'static str>,
}

impl Case {
    fn rfc(mut self, says: &'static str) -> Self {
        self.rfc = Some(says);
        self
    }
}

/// What must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expect {
    /// These streams are answered in full, and no other; the connection goes on.
    Answered(Vec<u32>),
    /// Nothing but that the connection goes on.
    Ignored,
    /// A GOAWAY with this code, and the end of the connection.
    Connection(u32),
    /// An RST_STREAM with this code; the connection goes on.
    Stream(u32, u32),
    /// These lengths of DATA frames on stream 1; the connection goes on.
    Data(Vec<usize>),
    /// An acknowledgement of this frame's type, with this payload.
    Acknowledged(u8, Vec<u8>),
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    frames: Vec<Frame>,
    error: Option<Error>,
    done: bool,
}

fn case(
    section: &'static str,
    name: &'static str,
    sends: impl IntoIterator<Item = Vec<u8>>,
    expects: Expect,
) -> Case {
    Case { section, name, sends: sends.into_iter().collect(), expects, rfc: None }
}

/// Bounds that cases can reach.
fn tight() -> Settings {
    Settings {
        streams_max: 100,
        stream_window_bytes: 65_535,
        connection_window_bytes: 65_535,
        ..Settings::default()
    }
}

/// A session that has seen the client's first bytes.
struct Served {
    session: ServerSession,
    outcome: Outcome,
    now: Instant,
    piece: usize,
}

impl Served {
    fn new(piece: usize) -> Self {
        let now = Instant::now();
        let session = ServerSession::new(&tight(), now).expect("memory");
        Self { session, outcome: Outcome::default(), now, piece }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            if self.outcome.error.is_none()
                && let Err(error) = self.session.recv(piece, self.now)
            {
                self.outcome.error = Some(error);
            }
            self.answer();
        }
    }

    /// Answers each whole request but those for [`wire::UNANSWERED`], and takes in the output.
    fn answer(&mut self) {
        while let Some(ready) = self.session.next_ready() {
            let path = self.session.head(ready.stream).and_then(|head| head.get(":path"));
            if ready.end && ready.closed.is_none() && path == Some(b"/") {
                let trailers = Trailers::Constant(TRAILERS);
                self.session.respond_unary(ready.stream, HEAD, trailers, |out| out.extend_from_slice(BODY));
            }
        }
        let mut out = Vec::new();
        if let Err(error) = self.session.send(&mut out, usize::MAX) {
            self.outcome.error.get_or_insert(error);
        }
        self.outcome.frames.extend(wire::parse(&out));
        self.outcome.done = self.session.is_done();
    }
}

/// What comes of `first` and then `sends`, without the server's own first frames.
fn run(first: &[u8], sends: &[Vec<u8>], piece: usize) -> Outcome {
    let mut served = Served::new(piece);
    served.feed(first);
    served.outcome.frames.clear();
    sends.iter().for_each(|bytes| served.feed(bytes));
    served.outcome
}

impl Outcome {
    fn of(&self, kind: u8) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.kind == kind)
    }

    fn goaway(&self) -> Option<u32> {
        self.of(wire::GOAWAY).map(|frame| wire::number(&frame.payload, 4)).next()
    }

    fn resets(&self) -> Vec<(u32, u32)> {
        self.of(wire::RST_STREAM).map(|frame| (frame.stream, wire::number(&frame.payload, 0))).collect()
    }

    fn answered(&self) -> Vec<u32> {
        let ended = |frame: &&Frame| frame.kind == wire::HEADERS && frame.flags & END_STREAM != 0;
        let mut streams: Vec<_> = self.frames.iter().filter(ended).map(|frame| frame.stream).collect();
        streams.sort_unstable();
        streams
    }

    fn goes_on(&self) -> bool {
        self.error.is_none() && !self.done && self.goaway().is_none()
    }

    fn is(&self, expects: &Expect) -> bool {
        match expects {
            Expect::Answered(streams) => {
                self.goes_on() && self.resets().is_empty() && self.answered() == *streams
            }
            Expect::Ignored => self.goes_on() && self.resets().is_empty() && self.answered().is_empty(),
            Expect::Connection(code) => self.done && self.goaway() == Some(*code),
            Expect::Stream(stream, code) => self.goes_on() && self.resets() == [(*stream, *code)],
            Expect::Data(lens) => {
                let got: Vec<_> = self.of(wire::DATA).map(|frame| frame.payload.len()).collect();
                self.goes_on() && got == *lens
            }
            Expect::Acknowledged(kind, payload) => {
                let acks = self.of(*kind).filter(|frame| frame.flags & ACK != 0);
                self.goes_on() && acks.map(|frame| &frame.payload).eq([payload])
            }
        }
    }
}

/// What a client sends first.
fn first() -> Vec<u8> {
    [&CLIENT_PREFACE[..], &wire::frame(wire::SETTINGS, 0, 0, &[])].concat()
}

fn check(cases: Vec<Case>) {
    let mut failed = Vec::new();
    for Case { section, name, sends, expects, rfc } in cases {
        if let Some(rfc) = rfc {
            eprintln!("{section} {name}: {expects:?} where the RFC says: {rfc}");
        }
        for piece in [usize::MAX, 1] {
            let outcome = run(&first(), &sends, piece);
            if !outcome.is(&expects) {
                failed.push(format!(
                    "{section} {name}, in pieces of {piece}: wanted {expects:?}, got {outcome:?}"
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Section 3.4: the connection's first bytes.
#[test]
fn preface() {
    let settings = wire::frame(wire::SETTINGS, 0, 0, &[]);
    let outcome = |bytes: &[u8]| run(bytes, &[], usize::MAX);
    let served = |bytes: &[u8]| {
        let mut served = Served::new(usize::MAX);
        served.feed(bytes);
        served.outcome
    };
    // The server's own SETTINGS come first, whatever the client does.
    let begun = served(&first());
    assert_eq!(begun.frames[0].kind, wire::SETTINGS);
    assert_eq!(begun.of(wire::SETTINGS).filter(|frame| frame.flags & ACK != 0).count(), 1, "acknowledged");
    // A wrong preface: the connection ends, and a GOAWAY may be left out.
    assert_eq!(outcome(b"INVALID CONNECTION PREFACE\r\n\r\n").error, Some(Error::BadPreface));
    // The preface without a SETTINGS frame after it.
    let ping = wire::frame(wire::PING, 0, 0, &[0; 8]);
    assert!(served(&[&CLIENT_PREFACE[..], &ping].concat()).is(&Expect::Connection(PROTOCOL_ERROR)));
    let ack = wire::frame(wire::SETTINGS, ACK, 0, &[]);
    assert!(served(&[&CLIENT_PREFACE[..], &ack].concat()).is(&Expect::Connection(PROTOCOL_ERROR)));
    // Everything in one piece.
    let all = [first(), wire::request(1), settings].concat();
    assert!(served(&all).is(&Expect::Answered(vec![1])));
}
