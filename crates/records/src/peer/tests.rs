//! Property tests of all records of this module.

use std::fmt::Debug;

use flatbuffers::FlatBufferBuilder;
use proptest::prelude::*;
use windlass_types::{ClusterId, LogIndex, MemberId, RequestId, Term};

use super::*;
use crate::log::EntryKind;

fn bytes_of(record: &impl Record) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    record.encode(&mut fbb);
    fbb.finished_data().to_vec()
}

/// It comes back as it was, and neither damage nor a cut can panic; nor can its bytes when taken for another record.
fn check<T: Record + PartialEq + Debug>(want: &T, at: prop::sample::Index, with: u8) {
    let mut data = bytes_of(want);
    assert_eq!(&T::parse(&data).unwrap(), want);
    parse_as_everything(&data);
    let at = at.index(data.len());
    data[at] = with;
    parse_as_everything(&data);
    data.truncate(at);
    parse_as_everything(&data);
}

fn parse_as_everything(data: &[u8]) {
    let _ = Hello::parse(data);
    let _ = HelloReply::parse(data);
    let _ = Raft::parse(data);
    let _ = ForwardRefused::parse(data);
    let _ = Ask::parse(data);
    let _ = Answer::parse(data);
    let _ = Ping::parse(data);
    let _ = BulkOpen::parse(data);
    let _ = BulkOpened::parse(data);
    let _ = BulkChunk::parse(data);
    let _ = BulkCredit::parse(data);
    let _ = BulkEnd::parse(data);
    let _ = BulkDone::parse(data);
    let _ = BulkAbort::parse(data);
}

fn any_place() -> impl Strategy<Value = Option<EntryId>> {
    any::<Option<(u64, u64)>>()
        .prop_map(|place| place.map(|(index, term)| EntryId { index: LogIndex(index), term: Term(term) }))
}

fn any_ids() -> impl Strategy<Value = Vec<MemberId>> {
    prop::collection::vec(any::<u64>().prop_map(MemberId), 0..4)
}

fn any_membership() -> impl Strategy<Value = Membership> {
    (any_ids(), any_ids(), any_ids(), any_ids(), any::<bool>()).prop_map(
        |(voters, voters_outgoing, learners, learners_next, auto_leave)| Membership {
            voters,
            voters_outgoing,
            learners,
            learners_next,
            auto_leave,
        },
    )
}

fn any_head() -> impl Strategy<Value = EntryHead> {
    (any::<u64>(), any::<bool>(), any::<u32>()).prop_map(|(term, is_change, length)| EntryHead {
        term: Term(term),
        kind: if is_change { EntryKind::ConfChange } else { EntryKind::Normal },
        length,
    })
}

fn any_raft() -> impl Strategy<Value = Raft> {
    let places = (any_place(), any_place(), any_place());
    let ends = (any::<[u64; 3]>(), prop::sample::select(raft_kinds()), any::<bool>());
    let read = any::<Option<[u64; 3]>>();
    let entries = prop::collection::vec(any_head(), 0..5);
    (ends, places, read, entries, prop::option::of(any_membership())).prop_map(
        |(([from, to, term], kind, flag), (entry, commit, hint), read, entries, membership)| Raft {
            from: MemberId(from),
            to: MemberId(to),
            term: Term(term),
            kind,
            flag,
            entry,
            commit,
            hint,
            read: read.map(|[term, incarnation, sequence]| ReadContext {
                term: Term(term),
                incarnation,
                sequence,
            }),
            entries,
            membership,
        },
    )
}

fn raft_kinds() -> Vec<RaftKind> {
    use RaftKind::*;
    vec![
        PreVote,
        PreVoteReply,
        Vote,
        VoteReply,
        Append,
        AppendAccepted,
        AppendRejected,
        Heartbeat,
        HeartbeatReply,
        Snapshot,
        TimeoutNow,
        ReadIndex,
        ReadIndexReply,
        StaleTerm,
    ]
}

proptest! {
    #[test]
    fn raft_messages(raft in any_raft(), at: prop::sample::Index, with: u8) {
        check(&raft, at, with);
    }

    #[test]
    fn hellos(numbers: [u64; 4], versions: [u32; 2], purpose in 0..3, text: String, unpublished: bool, at: prop::sample::Index, with: u8) {
        let [cluster, from, to, incarnation] = numbers;
        let [version, version_min] = versions;
        let purpose = [Purpose::Messages, Purpose::Bulk, Purpose::Inquiry][purpose as usize];
        let hello = Hello {
            version,
            version_min,
            purpose,
            cluster: ClusterId(cluster),
            from: MemberId(from),
            to: MemberId(to),
            incarnation,
            server_version: text,
            unpublished,
        };
        check(&hello, at, with);
    }

    #[test]
    fn replies(numbers: [u64; 3], version: u32, refusal in 0..9, text: String, at: prop::sample::Index, with: u8) {
        let [cluster, member, incarnation] = numbers;
        let refusals = [
            None,
            Some(Refusal::Version),
            Some(Refusal::Cluster),
            Some(Refusal::NotMember),
            Some(Refusal::Removed),
            Some(Refusal::OwnId),
            Some(Refusal::WrongMember),
            Some(Refusal::Inquiry),
            Some(Refusal::Forgotten),
        ];
        let reply = HelloReply {
            refusal: refusals[refusal as usize],
            text: text.clone(),
            version,
            cluster: ClusterId(cluster),
            member: MemberId(member),
            incarnation,
            server_version: text,
        };
        check(&reply, at, with);
    }

    #[test]
    fn calls(ids: Vec<u64>, id: u64, n: u64, code: u32, text: String, failed: bool, at: prop::sample::Index, with: u8) {
        let failure = Failure { code, text };
        let requests = ids.into_iter().map(RequestId).collect();
        check(&ForwardRefused { requests, incarnation: n, failure: failure.clone() }, at, with);
        check(&Ask { id, kind: code }, at, with);
        check(&Answer { id, incarnation: n, failure: failed.then_some(failure) }, at, with);
        check(&Ping { sequence: id, received: n }, at, with);
    }

    #[test]
    fn bulk(a: u64, b: u64, crc: u32, text: String, at: prop::sample::Index, with: u8) {
        check(&BulkOpen { id: a }, at, with);
        check(&BulkOpened { offset: a, crc }, at, with);
        check(&BulkChunk { sequence: a, offset: b }, at, with);
        check(&BulkCredit { offset: a }, at, with);
        check(&BulkEnd { length: a, crc }, at, with);
        check(&BulkDone { length: a }, at, with);
        check(&BulkAbort { text }, at, with);
    }

    #[test]
    fn no_bytes_can_panic(noise: Vec<u8>) {
        parse_as_everything(&noise);
    }
}
