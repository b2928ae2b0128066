//! What commands print: one reply, in one of etcdctl's formats.
//!
//! Formats write into buffers and never fail but by not existing for a reply; `main` does the printing.

pub mod admin;
mod fields;
mod json;
mod lease;
mod protobuf;
mod simple;
mod table;

use std::str::FromStr;
use std::time::Duration;

use windlass_api::etcdserverpb::{
    DeleteRangeResponse, HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberListResponse, PutResponse, RangeResponse,
    ResponseHeader, StatusResponse, TxnResponse, WatchResponse,
};

use windlass_api::mvccpb::Event;
use windlass_api::mvccpb::event::EventType;

use crate::exit::{Code, Failure};

/// A format, `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people and pipes.
    Simple,
    /// Go's JSON of the response: bytes in base64, zero fields left out.
    Json,
    /// A line for each field.
    Fields,
    /// A drawn table.
    Table,
    /// The response's bytes.
    Protobuf,
}

impl FromStr for Format {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        match name {
            "simple" => Ok(Self::Simple),
            "json" => Ok(Self::Json),
            "fields" => Ok(Self::Fields),
            "table" => Ok(Self::Table),
            "protobuf" => Ok(Self::Protobuf),
            _ => Err(Failure::new(Code::BadFeature, "unsupported output format")),
        }
    }
}

/// How the formats show bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Keys and values as `\xNN`; member ids in hexadecimal.
    pub hex: bool,
    /// Values without their keys.
    pub value_only: bool,
}

/// What a command has to say.
#[derive(Debug)]
pub enum Reply {
    /// Of `put`.
    Put(PutResponse),
    /// Of `get`.
    Range(RangeResponse),
    /// Of `del`.
    Delete(DeleteRangeResponse),
    /// Of `txn`.
    Txn(TxnResponse),
    /// Of `lease grant`.
    LeaseGrant(LeaseGrantResponse),
    /// Of `lease revoke`, and which lease it was.
    LeaseRevoke(i64, LeaseRevokeResponse),
    /// Of `lease keep-alive`.
    LeaseKeepAlive(LeaseKeepAliveResponse),
    /// Of `lease timetolive`, and whether its keys were asked for.
    LeaseTimeToLive(LeaseTimeToLiveResponse, bool),
    /// Of `lease list`.
    Leases(LeaseLeasesResponse),
    /// Of `member list`.
    Members(MemberListResponse),
    /// Of `endpoint status`.
    Status(Vec<EndpointStatus>),
    /// Of `endpoint health`.
    Health(Vec<EndpointHealth>),
    /// Of `endpoint hashkv`.
    HashKv(Vec<EndpointHashKv>),
    /// One response of `watch`.
    Watch(WatchResponse),
    /// Of a command that administers a cluster.
    Forms(Forms),
    /// Text that has no formats.
    Text(String),
    /// What was rendered already.
    Rendered(Vec<u8>),
    /// Nothing at all.
    Nothing,
}

/// A reply that knows its own formats; there is no table of it.
#[derive(Debug)]
pub struct Forms {
    /// The response's, for `fields`.
    pub header: Option<ResponseHeader>,
    /// All lines of `simple`.
    pub simple: Vec<u8>,
    /// All of `json`.
    pub json: json::value::Value,
    /// The lines of `fields` behind the header's; none where etcdctl has no such format.
    pub fields: Option<String>,
    /// The response.
    pub protobuf: Vec<u8>,
}

/// An endpoint and its answer.
#[derive(Debug)]
pub struct EndpointStatus {
    /// As the user wrote it.
    pub endpoint: String,
    /// Its answer.
    pub status: StatusResponse,
}

/// An endpoint and its answer.
#[derive(Debug)]
pub struct EndpointHashKv {
    /// As the user wrote it.
    pub endpoint: String,
    /// Its answer.
    pub hash: HashKvResponse,
}

/// An endpoint and whether it answered a linearizable read.
#[derive(Debug)]
pub struct EndpointHealth {
    /// As the user wrote it.
    pub endpoint: String,
    /// From the first attempt to connect to the answer.
    pub took: Duration,
    /// Why it is not healthy.
    pub error: Option<String>,
}

/// Bytes for the two streams.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// For standard output.
    pub out: Vec<u8>,
    /// For standard error.
    pub err: Vec<u8>,
}

/// Shows `reply` in `format`.
///
/// # Errors
/// The format does not exist for this reply.
pub fn render(reply: &Reply, format: Format, style: Style) -> Result<Rendered, Failure> {
    match reply {
        Reply::Text(text) => return Ok(Rendered { out: format!("{text}\n").into_bytes(), err: Vec::new() }),
        Reply::Rendered(out) => return Ok(Rendered { out: out.clone(), err: Vec::new() }),
        Reply::Nothing => return Ok(Rendered::default()),
        _ => {}
    }
    let out = match format {
        Format::Simple => return Ok(simple::render(reply, style)),
        Format::Json => json::render(reply, style.hex).into_bytes(),
        Format::Fields => fields::render(reply).ok_or_else(|| unsupported("fields"))?.into_bytes(),
        Format::Table => table::render(reply).ok_or_else(|| unsupported("table"))?.into_bytes(),
        Format::Protobuf => protobuf::render(reply).ok_or_else(|| unsupported("protobuf"))?,
    };
    Ok(Rendered { out, err: Vec::new() })
}

/// The name of an event's type.
pub fn event_type(event: &Event) -> &'static str {
    if event.r#type == EventType::Delete as i32 { "DELETE" } else { "PUT" }
}

fn unsupported(format: &str) -> Failure {
    Failure::new(Code::BadFeature, format!("{format} not supported as output format"))
}
