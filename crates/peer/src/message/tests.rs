//! Every message goes through its frame unchanged, and no bytes can do harm.

use flatbuffers::FlatBufferBuilder;
use proptest::prelude::*;
use windlass_records::log::EntryKind;
use windlass_records::peer::Record;

use super::*;
use crate::assemble::Assembler;
use crate::frame::{Kind, RawFrame};
use crate::pack::pack;

fn any_place() -> impl Strategy<Value = EntryId> {
    any::<[u64; 2]>().prop_map(|[index, term]| EntryId { index: LogIndex(index), term: Term(term) })
}

fn any_context() -> impl Strategy<Value = ReadContext> {
    any::<[u64; 3]>().prop_map(|[term, incarnation, sequence]| ReadContext {
        term: Term(term),
        incarnation,
        sequence,
    })
}

fn any_ids() -> impl Strategy<Value = std::collections::BTreeSet<MemberId>> {
    prop::collection::btree_set((1..u64::MAX).prop_map(MemberId), 0..5)
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

fn any_append() -> impl Strategy<Value = Body> {
    let len = prop_oneof![0..30_usize, 1000..1100_usize, 5000..5010_usize];
    let entries = prop::collection::vec((any::<u64>(), any::<bool>(), len), 0..6);
    (0..u64::MAX / 2, any::<u64>(), any::<u64>(), entries).prop_map(|(prev, prev_term, commit, entries)| {
        let entry = |(i, (term, is_change, len)): (usize, (u64, bool, usize))| Entry {
            term: Term(term),
            index: LogIndex(prev + 1 + i as u64),
            kind: if is_change { EntryKind::ConfChange } else { EntryKind::Normal },
            data: Bytes::from(vec![i as u8; len]),
        };
        Body::Append {
            prev_index: LogIndex(prev),
            prev_term: Term(prev_term),
            commit: LogIndex(commit),
            entries: entries.into_iter().enumerate().map(entry).collect(),
        }
    })
}

fn any_body() -> impl Strategy<Value = Body> {
    let index = || any::<u64>().prop_map(LogIndex);
    prop_oneof![
        (any_place(), any_place()).prop_map(|(last, commit)| Body::PreVote { last, commit }),
        (any::<bool>(), any_place()).prop_map(|(granted, commit)| Body::PreVoteReply { granted, commit }),
        (any_place(), any_place(), any::<bool>()).prop_map(|(last, commit, transfer)| Body::Vote {
            last,
            commit,
            transfer
        }),
        (any::<bool>(), any_place()).prop_map(|(granted, commit)| Body::VoteReply { granted, commit }),
        any_append(),
        index().prop_map(|index| Body::AppendAccepted { index }),
        (index(), any_place()).prop_map(|(prev_index, hint)| Body::AppendRejected {
            prev_index,
            hint_index: hint.index,
            hint_term: hint.term,
        }),
        (index(), prop::option::of(any_context()))
            .prop_map(|(commit, read)| Body::Heartbeat { commit, read }),
        prop::option::of(any_context()).prop_map(|read| Body::HeartbeatReply { read }),
        (any_place(), any_membership()).prop_map(|(place, membership)| {
            Body::Snapshot(SnapshotMeta { index: place.index, term: place.term, membership })
        }),
        Just(Body::TimeoutNow),
        any_context().prop_map(Body::ReadIndex),
        (any_context(), index()).prop_map(|(context, index)| Body::ReadIndexReply { context, index }),
        Just(Body::StaleTerm),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    (any::<[u64; 3]>(), any_body()).prop_map(|([from, to, term], body)| Message {
        from: MemberId(from),
        to: MemberId(to),
        term: Term(term),
        body,
    })
}

fn frame_bytes(message: &Message) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    to_record(message).encode(&mut fbb);
    pack(Kind::Raft, fbb.finished_data(), &parts(message)).to_vec()
}

fn assemble(bytes: &[u8]) -> Result<Option<RawFrame>, Fault> {
    let mut assembler = Assembler::new(1 << 20);
    for piece in bytes.chunks(10_000) {
        let space = assembler.space();
        let len = piece.len().min(space.len());
        space[..len].copy_from_slice(&piece[..len]);
        assembler.filled(len);
        if let Some(frame) = assembler.next()? {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

fn decode(frame: &RawFrame) -> Result<Message, Fault> {
    from_record(&Raft::parse(frame.record())?, &frame.body, frame.record_len)
}

/// The body of a fuzz target: damage behind the checksums, where only the record's own checks are left.
fn decode_damaged_body(frame: &RawFrame, at: usize, with: u8, record_len: usize) {
    let mut body = frame.body.to_vec();
    if let Some(byte) = body.get_mut(at) {
        *byte = with;
    }
    let record_len = record_len.min(body.len());
    let damaged = RawFrame { kind: frame.kind, record_len, body: body.into() };
    let _ = decode(&damaged);
}

proptest! {
    #[test]
    fn messages_go_through_unchanged(message in any_message()) {
        let frame = assemble(&frame_bytes(&message)).unwrap().unwrap();
        prop_assert_eq!(decode(&frame), Ok(message));
    }

    #[test]
    fn entries_are_views_of_the_received_body(body in any_append()) {
        let message = Message { from: MemberId(1), to: MemberId(2), term: Term(3), body };
        let frame = assemble(&frame_bytes(&message)).unwrap().unwrap();
        let Body::Append { entries, .. } = decode(&frame).unwrap().body else { panic!("an append") };
        let memory = frame.body.as_ptr() as usize..=frame.body.as_ptr() as usize + frame.body.len();
        for entry in entries {
            let at = entry.data.as_ptr() as usize;
            prop_assert!(entry.data.is_empty() || (memory.contains(&at) && at.is_multiple_of(PART_ALIGN)));
        }
    }

    #[test]
    fn no_damage_can_panic(message in any_message(), at: prop::sample::Index, with: u8, record_len: prop::sample::Index) {
        let frame = assemble(&frame_bytes(&message)).unwrap().unwrap();
        let len = frame.body.len();
        decode_damaged_body(&frame, at.index(len), with, frame.record_len);
        decode_damaged_body(&frame, len, 0, record_len.index(len + 1));
    }

    #[test]
    fn no_bytes_can_panic(noise: Vec<u8>, record_len: prop::sample::Index) {
        let record_len = record_len.index(noise.len() + 1);
        let _ = decode(&RawFrame { kind: Kind::Raft, record_len, body: noise.into() });
    }
}

#[test]
fn fields_that_are_missing_are_named() {
    let record = Raft::new(MemberId(1), MemberId(2), Term(1), RaftKind::Heartbeat);
    let fault = from_record(&record, &Bytes::new(), 0).unwrap_err();
    assert_eq!(fault.to_string(), "invalid record: message without commit index");
}

#[test]
fn entries_beyond_or_short_of_the_body_are_refused() {
    let entries = vec![EntryHead { term: Term(1), kind: EntryKind::Normal, length: 8 }];
    let place = record::EntryId { index: LogIndex(4), term: Term(1) };
    let record = Raft {
        entries,
        entry: Some(place),
        commit: Some(place),
        ..Raft::new(MemberId(1), MemberId(2), Term(1), RaftKind::Append)
    };
    for (len, is_right) in [(15, false), (16, true), (17, false)] {
        let made = from_record(&record, &Bytes::from(vec![0; len]), 8);
        assert_eq!(made.is_ok(), is_right, "a body of {len} bytes");
    }
}
