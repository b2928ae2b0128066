//! The `simple` format: etcdctl's default lines.

use std::fmt::Write as _;

use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse, WatchResponse,
};
use windlass_api::mvccpb::KeyValue;

use super::{EndpointHealth, Rendered, Reply, Style, event_type, lease, table};
use crate::go;

/// Shows `reply`; of the formats only this one writes to standard error, for endpoints that are not healthy.
pub fn render(reply: &Reply, style: Style) -> Rendered {
    let mut lines = Lines { out: Vec::new(), style };
    match reply {
        Reply::Put(response) => lines.put(response),
        Reply::Range(response) => lines.range(response),
        Reply::Delete(response) => lines.delete(response),
        Reply::Txn(response) => lines.txn(response),
        Reply::Watch(response) => lines.events(response),
        Reply::Health(endpoints) => return health(endpoints),
        Reply::Members(_) | Reply::Status(_) | Reply::HashKv(_) => lines.rows(reply),
        Reply::Text(text) => lines.line(text.as_bytes()),
        Reply::Forms(forms) => lines.out.extend_from_slice(&forms.simple),
        leases => lines.out.extend(lease::simple(leases).expect("no others are left").bytes()),
    }
    Rendered { out: lines.out, err: Vec::new() }
}

fn health(endpoints: &[EndpointHealth]) -> Rendered {
    let (mut out, mut err) = (String::new(), String::new());
    for EndpointHealth { endpoint, took, error } in endpoints {
        let written = match error {
            None => {
                let took = go::format_duration(*took);
                writeln!(out, "{endpoint} is healthy: successfully committed proposal: took = {took}")
            }
            Some(error) => writeln!(err, "{endpoint} is unhealthy: failed to commit proposal: {error}"),
        };
        written.expect("writing to a String cannot fail");
    }
    Rendered { out: out.into_bytes(), err: err.into_bytes() }
}

struct Lines {
    out: Vec<u8>,
    style: Style,
}

impl Lines {
    fn line(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.out.push(b'\n');
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.style.hex {
            let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            self.line(hex.as_bytes());
        } else {
            self.line(bytes);
        }
    }

    fn pair(&mut self, kv: &KeyValue) {
        if !self.style.value_only {
            self.bytes(&kv.key);
        }
        self.bytes(&kv.value);
    }

    fn put(&mut self, response: &PutResponse) {
        self.line(b"OK");
        response.prev_kv.iter().for_each(|kv| self.pair(kv));
    }

    fn range(&mut self, response: &RangeResponse) {
        response.kvs.iter().for_each(|kv| self.pair(kv));
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.line(response.deleted.to_string().as_bytes());
        response.prev_kvs.iter().for_each(|kv| self.pair(kv));
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.line(if response.succeeded { b"SUCCESS" } else { b"FAILURE" });
        for operation in response.responses.iter().filter_map(|operation| operation.response.as_ref()) {
            self.line(b"");
            match operation {
                Response::ResponsePut(response) => self.put(response),
                Response::ResponseRange(response) => self.range(response),
                Response::ResponseDeleteRange(response) => self.delete(response),
                Response::ResponseTxn(response) => self.txn(response),
            }
        }
    }

    fn events(&mut self, response: &WatchResponse) {
        for event in &response.events {
            self.line(event_type(event).as_bytes());
            [&event.prev_kv, &event.kv].into_iter().flatten().for_each(|kv| self.pair(kv));
        }
    }

    /// The table's rows without the drawing.
    fn rows(&mut self, reply: &Reply) {
        for row in table::rows(reply).map(|table| table.rows).unwrap_or_default() {
            self.line(row.join(", ").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv() -> KeyValue {
        KeyValue { key: "k".into(), value: vec![0xff, b'v'].into(), ..Default::default() }
    }

    #[test]
    fn values_are_bytes() {
        let reply = Reply::Range(RangeResponse { kvs: vec![kv()], ..Default::default() });
        assert_eq!(render(&reply, Style::default()).out, b"k\n\xffv\n");
        assert_eq!(render(&reply, Style { hex: true, value_only: true }).out, b"\\xff\\x76\n");
    }

    #[test]
    fn a_txn_separates_its_operations() {
        let put = PutResponse { prev_kv: Some(kv()), ..Default::default() };
        let operations =
            [Response::ResponsePut(put), Response::ResponseDeleteRange(DeleteRangeResponse::default())];
        let responses =
            operations.map(|response| windlass_api::etcdserverpb::ResponseOp { response: Some(response) });
        let reply = Reply::Txn(TxnResponse { responses: responses.into(), ..Default::default() });
        assert_eq!(render(&reply, Style::default()).out, b"FAILURE\n\nOK\nk\n\xffv\n\n0\n");
    }

    #[test]
    fn what_is_not_healthy_goes_to_standard_error() {
        let took = std::time::Duration::from_millis(2);
        let endpoints = vec![
            EndpointHealth { endpoint: "a:1".into(), took, error: None },
            EndpointHealth { endpoint: "b:1".into(), took, error: Some("context deadline exceeded".into()) },
        ];
        let rendered = render(&Reply::Health(endpoints), Style::default());
        assert_eq!(rendered.out, b"a:1 is healthy: successfully committed proposal: took = 2ms\n");
        assert_eq!(rendered.err, b"b:1 is unhealthy: failed to commit proposal: context deadline exceeded\n");
    }
}
