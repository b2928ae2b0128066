//! What clients asked and were told, for whoever wants to check it with other means than this simulator's.

use std::collections::BTreeMap;

use prost::Message;
use windlass_gateway::Transcoder;
use windlass_records::batch::CommandKind;
use windlass_replica::sequencer::Response;
use windlass_types::{RequestError, RequestId};

use crate::checker::Answer;

/// gRPC's paths.
pub const RANGE: &str = "/etcdserverpb.KV/Range";
/// As above.
pub const TXN: &str = "/etcdserverpb.KV/Txn";
/// As above.
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Names an operation whose client waits.
pub type OperationId = usize;

/// What one client did.
#[derive(Clone, Debug)]
pub struct Operation {
    /// At which member, in which life of its process; for a watch, which client on which stream.
    pub client: String,
    /// The method, as gRPC's path.
    pub method: &'static str,
    /// When it was asked, in nanoseconds since the run began.
    pub call_ns: u64,
    /// When the client heard the answer; nothing if it never did, so that nobody knows what became of it.
    pub return_ns: Option<u64>,
    /// The request's bytes; none for a response of a stream.
    pub request: Option<Vec<u8>>,
    /// The answer, if there was one.
    pub response: Option<Result<Vec<u8>, RequestError>>,
}

/// Everything that clients did, if somebody wants it.
#[derive(Default)]
pub struct Record {
    operations: Option<Vec<Operation>>,
    /// Writes that are not answered: at which site, in which life, under which number.
    open: BTreeMap<(usize, u32, RequestId), OperationId>,
}

impl Record {
    /// A record that is kept, or none.
    #[must_use]
    pub fn new(kept: bool) -> Self {
        Self { operations: kept.then(Vec::new), open: BTreeMap::new() }
    }

    /// Whether it is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.operations.is_some()
    }

    /// Adds an operation, made only if somebody wants it.
    pub fn add(&mut self, operation: impl FnOnce() -> Operation) -> Option<OperationId> {
        let operations = self.operations.as_mut()?;
        operations.push(operation());
        Some(operations.len() - 1)
    }

    /// Adds a write.
    pub fn add_write(
        &mut self,
        of: (usize, u32, RequestId),
        kind: CommandKind,
        operation: impl FnOnce(&'static str) -> Operation,
    ) {
        let Some(method) = method_of(kind) else { return };
        if let Some(id) = self.add(|| operation(method)) {
            self.open.insert(of, id);
        }
    }

    /// A write is answered; its client has not heard of that yet.
    pub fn answer_write(&mut self, of: (usize, u32, RequestId), answer: &Answer) {
        if let (Some(operations), Some(&id)) = (&mut self.operations, self.open.get(&of)) {
            operations[id].response = Some(answer.as_ref().map(encoded).map_err(|&error| error));
        }
    }

    /// The client of a write hears its answer.
    pub fn hear_write(&mut self, of: (usize, u32, RequestId), now_ns: u64) {
        if let (Some(operations), Some(id)) = (&mut self.operations, self.open.remove(&of)) {
            operations[id].return_ns = Some(now_ns);
        }
    }

    /// A read is answered.
    pub fn answer_read(
        &mut self,
        id: Option<OperationId>,
        now_ns: u64,
        response: impl FnOnce() -> Result<Vec<u8>, RequestError>,
    ) {
        if let (Some(operations), Some(id)) = (&mut self.operations, id) {
            operations[id].response = Some(response());
            operations[id].return_ns = Some(now_ns);
        }
    }

    /// What was recorded, in the order in which it was asked. An answer that nobody heard is none.
    #[must_use]
    pub fn operations(self) -> Vec<Operation> {
        let mut operations = self.operations.unwrap_or_default();
        for operation in &mut operations {
            operation.response.take_if(|_| operation.return_ns.is_none());
        }
        operations
    }
}

impl Operation {
    /// It as a line of JSON.
    ///
    /// # Panics
    /// If it is not one of the API.
    #[must_use]
    pub fn json(&self, transcoder: &Transcoder) -> String {
        let method = transcoder.method(self.method).expect("a method of the API");
        let json = |encode: &dyn Fn(&mut Vec<u8>) -> Result<(), prost::DecodeError>| {
            let mut bytes = Vec::new();
            encode(&mut bytes).expect("the simulator encoded it");
            String::from_utf8(bytes).expect("JSON is text")
        };
        let Self { client, call_ns, return_ns, request, response, .. } = self;
        let mut line = format!(r#"{{"client":"{client}","method":"{}","call_ns":{call_ns}"#, self.method);
        if let Some(return_ns) = return_ns {
            line += &format!(r#","return_ns":{return_ns}"#);
        }
        if let Some(request) = request {
            line += &format!(r#","request":{}"#, json(&|out| method.encode_request(request, out)));
        }
        match response {
            Some(Ok(response)) => {
                line += &format!(r#","response":{}"#, json(&|out| method.encode(response, out)));
            }
            Some(Err(error)) => line += &format!(r#","error":"{}""#, error.text()),
            None => {}
        }
        line + "}"
    }
}

fn method_of(kind: CommandKind) -> Option<&'static str> {
    Some(match kind {
        CommandKind::Put => "/etcdserverpb.KV/Put",
        CommandKind::DeleteRange => "/etcdserverpb.KV/DeleteRange",
        CommandKind::Txn => TXN,
        CommandKind::Compaction => "/etcdserverpb.KV/Compact",
        CommandKind::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
        CommandKind::LeaseRevoke => "/etcdserverpb.Lease/LeaseRevoke",
        // What administrators do is told of in the story.
        _ => return None,
    })
}

fn encoded(response: &Response) -> Vec<u8> {
    match response {
        Response::Put(response) => response.encode_to_vec(),
        Response::DeleteRange(response) => response.encode_to_vec(),
        Response::Txn(response) => response.encode_to_vec(),
        Response::Compaction(response) => response.encode_to_vec(),
        Response::LeaseGrant(response) => response.encode_to_vec(),
        Response::LeaseRevoke(response) => response.encode_to_vec(),
        Response::Auth(_) | Response::Alarm { .. } | Response::Members { .. } => Vec::new(),
    }
}
