//! Requests of the KV service and their answers, whatever their kind.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use windlass_api::method::kv;
use windlass_client::{Call, Connection, Error};
use windlass_types::RequestError;

/// Far beyond what any request takes; a server that needs longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `Range`.
    Range(RangeRequest),
    /// `Range`, asked as `RangeStream` where the server has it.
    Stream(RangeRequest),
    /// `Put`.
    Put(PutRequest),
    /// `DeleteRange`.
    Delete(DeleteRangeRequest),
    /// `Txn`.
    Txn(TxnRequest),
    /// `Compact`.
    Compact(CompactionRequest),
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `Range`.
    Range(RangeResponse),
    /// To `Put`.
    Put(PutResponse),
    /// To `DeleteRange`.
    Delete(DeleteRangeResponse),
    /// To `Txn`.
    Txn(TxnResponse),
    /// To `Compact`.
    Compact(CompactionResponse),
    /// A refusal: the name of the gRPC code and the text.
    Refused(String, String),
}

impl Answer {
    /// The refusal of etcd's catalogue that it is.
    pub fn error(&self) -> Option<RequestError> {
        RequestError::ALL.iter().copied().find(|error| *self == Self::from(*error))
    }

    /// The header; a refusal has none.
    pub fn header(&self) -> Option<ResponseHeader> {
        match self {
            Self::Range(response) => response.header,
            Self::Put(response) => response.header,
            Self::Delete(response) => response.header,
            Self::Txn(response) => response.header,
            Self::Compact(response) => response.header,
            Self::Refused(..) => None,
        }
    }

    /// The header, to be changed.
    pub fn header_mut(&mut self) -> Option<&mut ResponseHeader> {
        match self {
            Self::Range(response) => response.header.as_mut(),
            Self::Put(response) => response.header.as_mut(),
            Self::Delete(response) => response.header.as_mut(),
            Self::Txn(response) => response.header.as_mut(),
            Self::Compact(response) => response.header.as_mut(),
            Self::Refused(..) => None,
        }
    }
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        Self::Refused(format!("{:?}", error.code()), error.text().to_owned())
    }
}

/// A request under way.
pub struct Pending {
    call: Call,
    read: fn(&mut Connection, Call, Instant) -> Result<Answer, Error>,
}

impl Request {
    /// Sends the request; `has_range_stream` says whether the server knows `RangeStream`. It fails only if the
    /// connection does.
    pub fn send(&self, connection: &mut Connection, has_range_stream: bool) -> Result<Pending, Error> {
        type Read = fn(&mut Connection, Call, Instant) -> Result<Answer, Error>;
        let range: Read = |connection, call, deadline| connection.finish(call, deadline).map(Answer::Range);
        let (call, read): (_, Read) = match self {
            Self::Stream(request) if has_range_stream => {
                (connection.begin(kv::RANGE_STREAM, request, TIMEOUT), read_stream)
            }
            Self::Range(request) | Self::Stream(request) => {
                (connection.begin(kv::RANGE, request, TIMEOUT), range)
            }
            Self::Put(request) => {
                (connection.begin(kv::PUT, request, TIMEOUT), |connection, call, deadline| {
                    connection.finish(call, deadline).map(Answer::Put)
                })
            }
            Self::Delete(request) => {
                (connection.begin(kv::DELETE_RANGE, request, TIMEOUT), |connection, call, deadline| {
                    connection.finish(call, deadline).map(Answer::Delete)
                })
            }
            Self::Txn(request) => {
                (connection.begin(kv::TXN, request, TIMEOUT), |connection, call, deadline| {
                    connection.finish(call, deadline).map(Answer::Txn)
                })
            }
            Self::Compact(request) => {
                (connection.begin(kv::COMPACT, request, TIMEOUT), |connection, call, deadline| {
                    connection.finish(call, deadline).map(Answer::Compact)
                })
            }
        };
        Ok(Pending { call: call?, read })
    }
}

impl Pending {
    /// Waits for the answer. Anything but an answer or a refusal is an error.
    pub fn answer(self, connection: &mut Connection) -> Result<Answer, Error> {
        match (self.read)(connection, self.call, Instant::now() + TIMEOUT) {
            Err(Error::Status { code, message }) => Ok(Answer::Refused(format!("{code:?}"), message)),
            answer => answer,
        }
    }
}

/// The chunks as one answer: pairs come with all of them, the rest with the last.
fn read_stream(connection: &mut Connection, call: Call, deadline: Instant) -> Result<Answer, Error> {
    let mut whole = RangeResponse::default();
    let end = loop {
        match connection.next::<RangeStreamResponse>(&call, deadline) {
            Ok(Some(chunk)) => {
                let mut chunk = chunk.range_response.unwrap_or_default();
                let kvs = std::mem::take(&mut whole.kvs);
                chunk.kvs.splice(0..0, kvs);
                whole = chunk;
            }
            Ok(None) => break Ok(Answer::Range(whole)),
            Err(error) => break Err(error),
        }
    };
    connection.end(call);
    end
}
