//! The `protobuf` format: the response as it came over the wire, for programs.

use prost::Message;
use windlass_api::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse,
};

use super::Reply;

/// The bytes, if the reply is one message.
pub fn render(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Put(response) => Some(response.encode_to_vec()),
        Reply::Range(response) => Some(response.encode_to_vec()),
        Reply::Delete(response) => Some(response.encode_to_vec()),
        Reply::Txn(response) => Some(response.encode_to_vec()),
        Reply::Members(response) => Some(response.encode_to_vec()),
        Reply::Watch(response) => Some(response.encode_to_vec()),
        Reply::LeaseRevoke(_, response) => Some(response.encode_to_vec()),
        // Of these etcdctl prints the header alone: its own types of them have no more in this form.
        Reply::LeaseGrant(LeaseGrantResponse { header, .. })
        | Reply::LeaseKeepAlive(LeaseKeepAliveResponse { header, .. })
        | Reply::LeaseTimeToLive(LeaseTimeToLiveResponse { header, .. }, _)
        | Reply::Leases(LeaseLeasesResponse { header, .. }) => header.as_ref().map(Message::encode_to_vec),
        Reply::Forms(forms) => Some(forms.protobuf.clone()),
        _ => None,
    }
}
