//! JSON to protobuf and back, by the descriptors of the API.

use std::collections::HashMap;
use std::fmt;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, SerializeOptions,
};
use serde::Deserialize;
use serde_json::Value;

/// Unknown fields are taken out before. Names of enum values that are unknown are then refused, as etcd refuses them.
const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);

/// Field names as in the protobuf files; fields at their default are left out.
const WRITE: SerializeOptions = SerializeOptions::new().use_proto_field_name(true);

/// Every method of the API.
#[derive(Clone, Debug)]
pub struct Transcoder {
    methods: HashMap<String, Method>,
}

/// The messages of one method.
#[derive(Clone, Debug)]
pub struct Method {
    input: MessageDescriptor,
    output: MessageDescriptor,
    streams_in: bool,
    streams_out: bool,
}

/// Why a text is not the JSON of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson(
    /// What is wrong with it.
    pub String,
);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

impl Default for Transcoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Transcoder {
    /// One for all methods of `windlass-api`.
    ///
    /// # Panics
    /// If the descriptors of this build are damaged.
    #[must_use]
    pub fn new() -> Self {
        let pool = DescriptorPool::decode(windlass_api::DESCRIPTORS).expect("the build's own descriptors");
        let services: Vec<_> = pool.services().collect();
        let methods = services.iter().flat_map(|service| {
            let name = service.full_name().to_owned();
            service.methods().map(move |method| (format!("/{name}/{}", method.name()), Method::of(&method)))
        });
        Self { methods: methods.collect() }
    }

    /// The method of a gRPC path.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.methods.get(path)
    }
}

impl Method {
    fn of(method: &MethodDescriptor) -> Self {
        Self {
            input: method.input(),
            output: method.output(),
            streams_in: method.is_client_streaming(),
            streams_out: method.is_server_streaming(),
        }
    }

    /// Whether the client sends any number of messages.
    #[must_use]
    pub fn streams_in(&self) -> bool {
        self.streams_in
    }

    /// Whether any number of messages is answered.
    #[must_use]
    pub fn streams_out(&self) -> bool {
        self.streams_out
    }

    /// The request that `json` is. Nothing but white space is the request with all fields at their default, and what
    /// follows the first value is not looked at, as in etcd's gateway.
    ///
    /// # Errors
    /// If it is not JSON, or not of this message.
    pub fn decode(&self, json: &[u8]) -> Result<Vec<u8>, NotJson> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        let refused = |error: serde_json::Error| {
            NotJson(if error.is_eof() { "unexpected EOF".to_owned() } else { error.to_string() })
        };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let mut value = Value::deserialize(&mut reader).map_err(refused)?;
        drop_unknown(&mut value, &self.input);
        let message = DynamicMessage::deserialize_with_options(self.input.clone(), value, &READ);
        Ok(message.map_err(refused)?.encode_to_vec())
    }

    /// Appends a response as JSON to `out`.
    ///
    /// # Errors
    /// If `message` is not one of this method's responses.
    pub fn encode(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError> {
        encode_as(&self.output, message, out)
    }

    /// Appends a request as JSON to `out`.
    ///
    /// # Errors
    /// If `message` is not one of this method's requests.
    pub fn encode_request(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError> {
        encode_as(&self.input, message, out)
    }
}

fn encode_as(kind: &MessageDescriptor, message: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError> {
    let message = DynamicMessage::decode(kind.clone(), message)?;
    let mut writer = serde_json::Serializer::new(out);
    message.serialize_with_options(&mut writer, &WRITE).expect("a vector takes any JSON");
    Ok(())
}

/// Takes out what a client says that this version does not know: it is ignored, as in etcd.
fn drop_unknown(value: &mut Value, message: &MessageDescriptor) {
    let Value::Object(fields) = value else { return };
    fields.retain(|name, value| {
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        if let Some(Kind::Message(inner)) = field.as_ref().map(FieldDescriptor::kind) {
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| drop_unknown(item, &inner)),
                item => drop_unknown(item, &inner),
            }
        }
        field.is_some()
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windlass_api::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse};
    use windlass_api::method::kv;

    use super::*;

    fn decode<M: Message + Default>(path: &str, json: &str) -> Result<M, String> {
        let transcoder = Transcoder::new();
        let bytes = transcoder.method(path).expect("a method").decode(json.as_bytes());
        bytes.map(|bytes| M::decode(&bytes[..]).expect("protobuf")).map_err(|NotJson(text)| text)
    }

    fn range(json: &str) -> Result<RangeRequest, String> {
        decode(kv::RANGE, json)
    }

    #[test]
    fn every_spelling_of_a_value_is_read() {
        let expected = RangeRequest { key: "k?>".into(), limit: 5, sort_order: 2, ..Default::default() };
        for json in [
            r#"{"key":"az8+","limit":"5","sort_order":"DESCEND"}"#,
            r#"{"key":"az8-","limit":5,"sortOrder":2}"#,
            r#" {"key":"az8+","limit":5,"sort_order":2,"revision":null,"nothing":{"a":[1]}} trailing"#,
        ] {
            assert_eq!(range(json), Ok(expected.clone()), "{json}");
        }
        let padded = RangeRequest { key: "a".into(), ..Default::default() };
        assert_eq!(range(r#"{"key":"YQ"}"#), Ok(padded.clone()));
        assert_eq!(range(r#"{"key":"YQ=="}"#), Ok(padded));
        assert_eq!(range(" \n"), Ok(RangeRequest::default()));
        assert_eq!(range("{}"), Ok(RangeRequest::default()));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for json in [
            "{",
            "[]",
            "5",
            "xx",
            r#"{"key":5}"#,
            r#"{"key":"a"}"#,
            r#"{"limit":"x"}"#,
            r#"{"limit":9223372036854775808}"#,
            r#"{"limit":1.5}"#,
            r#"{"serializable":"yes"}"#,
            r#"{"sort_order":"BOGUS"}"#,
        ] {
            assert!(range(json).is_err(), "{json} became {:?}", range(json));
        }
        assert_eq!(range(r#"{"key":"YQ=="#), Err("unexpected EOF".into()));
        let deep = format!("{}{}", r#"{"success":[{"request_txn":"#.repeat(1000), "}]}".repeat(1000));
        assert!(decode::<TxnRequest>(kv::TXN, &deep).is_err());
    }

    #[test]
    fn answers_have_proto_names_and_no_defaults() {
        use windlass_api::etcdserverpb::{PutResponse, ResponseHeader, ResponseOp, response_op::Response};
        let put = PutResponse { header: Some(ResponseHeader::default()), prev_kv: None };
        let message = TxnResponse {
            header: Some(ResponseHeader { cluster_id: u64::MAX, revision: -1, ..Default::default() }),
            succeeded: true,
            responses: vec![ResponseOp { response: Some(Response::ResponsePut(put)) }],
        };
        let transcoder = Transcoder::new();
        let mut json = Vec::new();
        transcoder.method(kv::TXN).expect("txn").encode(&message.encode_to_vec(), &mut json).expect("valid");
        assert_eq!(
            String::from_utf8(json).expect("text"),
            "{\"header\":{\"cluster_id\":\"18446744073709551615\",\"revision\":\"-1\"},\"succeeded\":true,\
             \"responses\":[{\"response_put\":{\"header\":{}}}]}"
        );
    }

    /// JSON that is mostly close to a request.
    fn near_json() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"key\"",
            "\"compare\"",
            "\"success\"",
            "\"request_put\"",
            "\"target\"",
            "\"MOD\"",
            "\"YQ==\"",
            "null",
            "true",
            "-1",
            "1e400",
            "\"1\"",
            "0.5",
            "\"\\u0000\"",
            "\"\\ud800\"",
            " ",
        ]);
        prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(json in near_json(), bytes: Vec<u8>) {
            let transcoder = Transcoder::new();
            for (_, path) in crate::PATHS {
                let method = transcoder.method(path).expect("a method");
                let _ = method.decode(json.as_bytes());
                let _ = method.decode(&bytes);
                let _ = method.encode(&bytes, &mut Vec::new());
            }
        }

        #[test]
        fn what_is_written_is_read_back(key: Vec<u8>, limit: i64, order in 0..3i32, serializable: bool) {
            let request = RangeRequest {
                key: key.into(), limit, sort_order: order, serializable, ..Default::default()
            };
            let descriptor = Transcoder::new().method(kv::RANGE).expect("range").input.clone();
            let message = DynamicMessage::decode(descriptor, &request.encode_to_vec()[..]).expect("valid");
            let mut writer = serde_json::Serializer::new(Vec::new());
            message.serialize_with_options(&mut writer, &WRITE).expect("a vector takes any JSON");
            let json = String::from_utf8(writer.into_inner()).expect("text");
            prop_assert_eq!(range(&json), Ok(request));
        }
    }
}
