//! `Maintenance.Hash` and `HashKV`: what members compare to find out whether they hold the same.
//!
//! The hash is a sum over versions, so it does not depend on the number of shards; it is made slice by slice, so that
//! nobody waits for it. It is not etcd's hash: it compares members of one cluster.

use prost::Message;
use windlass_api::etcdserverpb::{HashKvRequest, HashKvResponse, HashResponse};
use windlass_replica::reading::{Hashed, ReadRequest};
use windlass_rpc::CallId;
use windlass_types::Revision;

use super::arbiter::Arbiter;
use super::reads::Reader;

impl Arbiter {
    /// `Maintenance.HashKV`
    pub(super) fn hash_kv(&mut self, call: CallId, message: &[u8]) {
        match HashKvRequest::decode(message) {
            // Of what this member has: it is not to wait for others, nor for a leader.
            Ok(request) => {
                let request = ReadRequest::Hash(Revision(request.revision));
                self.read(Reader::Hash(call), request, true);
            }
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `Maintenance.Hash`
    pub(super) fn hash(&mut self, call: CallId) {
        self.read(Reader::Call(call), ReadRequest::Hash(Revision::ZERO), true);
    }

    /// Answers with a hash that is done.
    pub(super) fn give_hash(&mut self, reader: Reader, hashed: Hashed) {
        let Hashed { hash, revision, compact_revision } = hashed;
        let header = Some(self.headers.now());
        match reader {
            Reader::Hash(call) => self.reply(
                call,
                &HashKvResponse {
                    header,
                    hash,
                    compact_revision: compact_revision.0,
                    hash_revision: revision.0,
                },
            ),
            Reader::Call(call) => self.reply(call, &HashResponse { header, hash }),
            _ => unreachable!("nobody else asks for a hash"),
        }
    }
}
