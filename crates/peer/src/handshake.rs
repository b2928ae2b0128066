//! The first frames of a connection: who is there, and may it speak.

use std::fmt;
use std::io;

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windlass_records::peer::{Hello, HelloReply, Purpose, Record, Refusal};
use windlass_tls::{HandshakeError, Stream};
use windlass_types::MemberId;

use crate::api::Admission;
use crate::assemble::Assembler;
use crate::frame::{Fault, Kind, RawFrame};
use crate::pack::pack;
use crate::peers::Shared;

/// The protocol version of this code, and the oldest that it speaks.
pub(crate) const VERSION: u32 = 1;
pub(crate) const VERSION_MIN: u32 = 1;
/// Most bytes of a first frame: it comes from somebody who is not known yet.
pub(crate) const HELLO_BYTES_MAX: usize = 64 << 10;
/// Most bytes of the answer to a first frame, which may hold the answer to an inquiry.
pub(crate) const REPLY_BYTES_MAX: usize = 4 << 20;

/// Why a connection ended, or did not come to be.
#[derive(Debug)]
pub(crate) enum Broken {
    Io(io::Error),
    Fault(Fault),
    /// The connection could not be protected.
    Tls(HandshakeError),
    /// No sign of life in time.
    Silent,
    /// The other side closed it.
    Closed,
    /// The other side does not want it.
    Refused(HelloReply),
    /// This side does not want it any more.
    Ended,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Silent => f.write_str("no sign of life in time"),
            Self::Closed => f.write_str("closed by the other side"),
            Self::Refused(reply) => write!(f, "refused: {}", reply.text),
            Self::Ended => f.write_str("ended by this member"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HandshakeError> for Broken {
    fn from(error: HandshakeError) -> Self {
        Self::Tls(error)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<windlass_records::Error> for Broken {
    fn from(error: windlass_records::Error) -> Self {
        Self::Fault(error.into())
    }
}

/// Reads until there is a whole frame.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncReadExt + Unpin),
    assembler: &mut Assembler,
) -> Result<RawFrame, Broken> {
    loop {
        if let Some(frame) = assembler.next()? {
            return Ok(frame);
        }
        let len = stream.read(assembler.space()).await?;
        if len == 0 {
            return Err(Broken::Closed);
        }
        assembler.filled(len);
    }
}

/// Writes one frame at once.
pub(crate) async fn write_record(
    stream: &mut (impl AsyncWriteExt + Unpin),
    kind: Kind,
    record: &impl Record,
    payload: Option<Bytes>,
) -> io::Result<usize> {
    let mut fbb = FlatBufferBuilder::new();
    record.encode(&mut fbb);
    let packet = pack(kind, fbb.finished_data(), payload.as_slice());
    let mut bytes = Vec::with_capacity(packet.len());
    packet.append_to(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(bytes.len())
}

/// The dialler's side: says `hello`, and has the answer. An acceptance only.
pub(crate) async fn greet(
    stream: &mut Stream,
    assembler: &mut Assembler,
    hello: &Hello,
    question: Option<Bytes>,
) -> Result<(HelloReply, Bytes), Broken> {
    write_record(stream, Kind::Hello, hello, question).await?;
    assembler.set_body_bytes_max(REPLY_BYTES_MAX);
    let frame = read_frame(stream, assembler).await?;
    if frame.kind != Kind::HelloReply {
        return Err(Fault::Unexpected("an answer to the greeting was due").into());
    }
    let reply = HelloReply::parse(frame.record())?;
    if reply.refusal.is_some() {
        return Err(Broken::Refused(reply));
    }
    if !(VERSION_MIN..=VERSION).contains(&reply.version) {
        return Err(Fault::Unexpected("protocol version that was not offered").into());
    }
    Ok((reply, frame.payload()))
}

/// Whom the other side turned out to be.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub peer: MemberId,
    pub incarnation: u64,
    pub purpose: Purpose,
}

/// The listener's side: hears the greeting, answers it, and says who may stay. Inquiries are over with that.
pub(crate) async fn welcome(
    shared: &Shared,
    stream: &mut Stream,
    assembler: &mut Assembler,
) -> Result<Option<Greeted>, Broken> {
    let frame = read_frame(stream, assembler).await?;
    if frame.kind != Kind::Hello {
        return Err(Fault::Unexpected("a greeting was due").into());
    }
    let hello = Hello::parse(frame.record())?;
    let verdict = judge(shared, &hello, frame.payload());
    let (refusal, text, answer) = match verdict {
        Ok(answer) => (None, String::new(), answer),
        Err((refusal, text)) => (Some(refusal), text, None),
    };
    let reply = HelloReply {
        refusal,
        text,
        version: VERSION,
        cluster: shared.cluster,
        member: shared.member,
        incarnation: shared.incarnation,
        server_version: shared.server_version.clone(),
    };
    write_record(stream, Kind::HelloReply, &reply, answer).await?;
    if refusal.is_some() {
        // The answer must arrive: closing at once, with bytes unread, would reset the connection.
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(HELLO_BYTES_MAX as u64), &mut tokio::io::sink()).await;
        return Err(Broken::Refused(reply));
    }
    let greeted = Greeted { peer: hello.from, incarnation: hello.incarnation, purpose: hello.purpose };
    Ok((hello.purpose != Purpose::Inquiry).then_some(greeted))
}

/// Whether the greeting is good, and the answer of an inquiry.
fn judge(shared: &Shared, hello: &Hello, question: Bytes) -> Result<Option<Bytes>, (Refusal, String)> {
    if hello.version < VERSION_MIN || hello.version_min > VERSION {
        let text = format!(
            "peer protocol versions {VERSION_MIN} to {VERSION} are spoken here, the other side speaks {} to {}",
            hello.version_min, hello.version
        );
        return Err((Refusal::Version, text));
    }
    if hello.purpose == Purpose::Inquiry {
        return match shared.handler.inquired(question) {
            Ok(answer) if answer.len() < REPLY_BYTES_MAX / 2 => Ok(Some(answer)),
            Ok(_) => Err((Refusal::Inquiry, "the answer is too long".to_owned())),
            Err(text) => Err((Refusal::Inquiry, text)),
        };
    }
    if hello.cluster != shared.cluster {
        let text = format!("cluster id mismatch: {:x} here, {:x} there", shared.cluster.0, hello.cluster.0);
        return Err((Refusal::Cluster, text));
    }
    if hello.from == shared.member {
        return Err((Refusal::OwnId, format!("member id {:x} is this member's own", hello.from.0)));
    }
    if hello.to != shared.member {
        let text = format!("member {:x} is at this address, not {:x}", shared.member.0, hello.to.0);
        return Err((Refusal::WrongMember, text));
    }
    match shared.handler.admit(hello.from, hello.unpublished) {
        Admission::Member if shared.link(hello.from).is_some() => Ok(None),
        Admission::Removed => {
            Err((Refusal::Removed, format!("member {:x} was removed from the cluster", hello.from.0)))
        }
        Admission::Forgotten => Err((
            Refusal::Forgotten,
            format!("member {:x} was here before, and has lost its data", hello.from.0),
        )),
        Admission::Member | Admission::Unknown => {
            Err((Refusal::NotMember, format!("member {:x} is not known here", hello.from.0)))
        }
    }
}
