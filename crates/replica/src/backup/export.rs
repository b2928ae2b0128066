//! The store as a bbolt file that etcd takes for its own backend.
//!
//! It has the schema of etcd 3.5, which 3.6 reads and brings up to date by itself. What of it is about this cluster (who
//! votes, the place in the log) is there because etcd's tools look for it; a restore replaces it.

use std::collections::BTreeMap;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use windlass_api::etcdserverpb::Member;
use windlass_bbolt::{Head, Writer};
use windlass_records::state::State;
use windlass_records::wal;
use windlass_types::{MemberId, Revision};

use super::schema::{self, Place};
use crate::alarm::Alarms;
use crate::auth::Auth;
use crate::lease::Leases;
use crate::membership::Members;
use crate::system::{ROLE, System, USER};

/// A bucket's keys and values.
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// An export under way. What is appended to `out` belongs behind the [`Head`].
pub struct Export {
    writer: Writer,
    /// The buckets behind that of the keys.
    rest: Vec<(&'static [u8], Pairs)>,
    /// Place of the last version: the next of its revision is numbered behind it.
    last: (Revision, u32),
    value: Vec<u8>,
}

impl Export {
    /// Begins with what stands before the versions.
    #[must_use]
    pub fn begin(state: &State, system: &System, out: &mut Vec<u8>) -> Self {
        let mut writer = Writer::new();
        for (name, pairs) in [
            (schema::ALARM, alarms(system)),
            (schema::AUTH, auth(system)),
            (schema::AUTH_ROLES, named(ROLE, system)),
            (schema::AUTH_USERS, named(USER, system)),
            // Nothing is agreed on: whoever starts on this decides anew.
            (schema::CLUSTER, Pairs::new()),
        ] {
            write_bucket(&mut writer, name, &pairs, out);
        }
        let members = Members::of(system);
        let rest = vec![
            (schema::LEASE, leases(system)),
            (schema::MEMBERS, members.iter().map(|m| (id_text(m.id), member_json(m))).collect()),
            (
                schema::MEMBERS_REMOVED,
                members.removed().map(|id| (id_text(id.0), b"removed".to_vec())).collect(),
            ),
            (schema::META, meta(state, &members)),
        ];
        writer.begin_bucket(schema::KEY);
        Self { writer, rest, last: (Revision::ZERO, 0), value: Vec::new() }
    }

    /// The next version, in order of revision, ordinal and key. Those of one revision are numbered anew: etcd numbers
    /// every key that an operation deletes.
    pub fn push(&mut self, version: &wal::Version<'_>, out: &mut Vec<u8>) {
        let (last, sub) = self.last;
        assert!(version.revision >= last, "versions come in order of their revisions");
        let sub = if version.revision == last { sub + 1 } else { 0 };
        self.last = (version.revision, sub);
        let place = Place { revision: version.revision, sub, is_tombstone: version.live.is_none() };
        encode_pair(version, &mut self.value);
        self.writer.put(&place.encode(), &self.value, out);
    }

    /// Ends the file.
    #[must_use]
    pub fn finish(mut self, out: &mut Vec<u8>) -> Head {
        self.writer.end_bucket(out);
        for (name, pairs) in &self.rest {
            write_bucket(&mut self.writer, name, pairs, out);
        }
        self.writer.finish(out)
    }
}

fn write_bucket(writer: &mut Writer, name: &[u8], pairs: &Pairs, out: &mut Vec<u8>) {
    writer.begin_bucket(name);
    pairs.iter().for_each(|(key, value)| writer.put(key, value, out));
    writer.end_bucket(out);
}

/// An `mvccpb.KeyValue`, without copies of its parts.
fn encode_pair(version: &wal::Version<'_>, out: &mut Vec<u8>) {
    out.clear();
    let bytes = |tag, bytes: &[u8], out: &mut Vec<u8>| {
        if !bytes.is_empty() {
            encode_key(tag, WireType::LengthDelimited, out);
            encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
    };
    let number = |tag, number: i64, out: &mut Vec<u8>| {
        if number != 0 {
            encode_key(tag, WireType::Varint, out);
            encode_varint(number.cast_unsigned(), out);
        }
    };
    bytes(1, version.key, out);
    let Some(live) = version.live else { return };
    number(2, live.create_revision.0, out);
    number(3, version.revision.0, out);
    number(4, live.version, out);
    bytes(5, live.value, out);
    number(6, live.lease.0, out);
}

fn alarms(system: &System) -> Pairs {
    Alarms::load(system).iter().map(|alarm| (alarm.encode_to_vec(), Vec::new())).collect()
}

fn auth(system: &System) -> Pairs {
    let auth = Auth::load(system);
    let enabled = vec![u8::from(auth.is_enabled())];
    let revision = auth.revision().to_be_bytes().to_vec();
    Pairs::from([(schema::AUTH_ENABLED.to_vec(), enabled), (schema::AUTH_REVISION.to_vec(), revision)])
}

/// Users or roles, whose records are etcd's own.
fn named(prefix: &[u8], system: &System) -> Pairs {
    let records = system.with_prefix(prefix);
    records.map(|(name, value)| (name[prefix.len()..].to_vec(), value.to_vec())).collect()
}

fn leases(system: &System) -> Pairs {
    let leases = Leases::load(system);
    let pair = |(id, lease): (windlass_types::LeaseId, crate::lease::Lease)| {
        let remaining_ttl_s = lease.left_ms.map_or(0, |ms| i64::try_from(ms.div_ceil(1000)).unwrap_or(0));
        let value = schema::Lease { id: id.0, ttl_s: lease.ttl_s, remaining_ttl_s };
        (id.0.to_be_bytes().to_vec(), value.encode_to_vec())
    };
    leases.iter_from(None).map(pair).collect()
}

fn meta(state: &State, members: &Members) -> Pairs {
    let mut pairs = Pairs::new();
    let mut put = |name: &[u8], value: Vec<u8>| pairs.insert(name.to_vec(), value);
    put(schema::CONSISTENT_INDEX, state.index.0.to_be_bytes().to_vec());
    put(schema::TERM, state.term.0.to_be_bytes().to_vec());
    put(schema::CONF_STATE, conf_state(members));
    if state.compact_revision > Revision::ZERO {
        let place = Place { revision: state.compact_revision, sub: 0, is_tombstone: false };
        put(schema::SCHEDULED_COMPACT, place.encode());
        put(schema::FINISHED_COMPACT, place.encode());
    }
    pairs
}

/// Source: etcd `raftpb.ConfState` as JSON.
fn conf_state(members: &Members) -> Vec<u8> {
    let ids = |learns: bool| -> Vec<u64> {
        members.iter().filter(|m| m.is_learner == learns).map(|m| m.id).collect()
    };
    let mut state = serde_json::json!({ "voters": ids(false), "auto_leave": false });
    if !ids(true).is_empty() {
        state["learners"] = ids(true).into();
    }
    state.to_string().into_bytes()
}

/// Source: etcd `membership.Member` as JSON.
fn member_json(member: &Member) -> Vec<u8> {
    let mut json = serde_json::json!({
        "id": member.id,
        "peerURLs": member.peer_ur_ls,
        "name": member.name,
        "clientURLs": member.client_ur_ls,
    });
    if member.is_learner {
        json["isLearner"] = true.into();
    }
    json.to_string().into_bytes()
}

fn id_text(id: u64) -> Vec<u8> {
    format!("{:x}", MemberId(id).0).into_bytes()
}
