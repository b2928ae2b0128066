//! The order of what the sequencer puts out, as text: what an entry becomes, and what it waits for.

use expect_test::{Expect, expect};
use prost::Message;
use windlass_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, Member, PutRequest};
use windlass_mvcc::Shard;
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_records::wal;
use windlass_types::MemberId;

use super::*;
use crate::perform::perform;

const US: Origin = Origin { member: MemberId(1), incarnation: 2 };
/// This member, before it was started again.
const BEFORE: Origin = Origin { incarnation: 1, ..US };

struct Trace {
    sequencer: Sequencer,
    shards: Vec<(Shard, wal::FrameBuilder)>,
    index: u64,
    tasks: Vec<(ShardId, ShardTask)>,
    lines: Vec<String>,
}

impl Trace {
    fn new(shards: u16) -> Self {
        let shard = |_| (Shard::default(), wal::FrameBuilder::default());
        let state = State { term: Term(1), ..State::EMPTY };
        Self {
            sequencer: Sequencer::new(US, shards, state, System::default()),
            shards: (0..shards).map(shard).collect(),
            index: 0,
            tasks: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn commit(&mut self, commands: &[(CommandKind, Vec<u8>)]) -> &mut Self {
        self.commit_from(US, commands)
    }

    fn commit_from(&mut self, origin: Origin, commands: &[(CommandKind, Vec<u8>)]) -> &mut Self {
        let mut batch = BatchBuilder::default();
        for (id, (kind, payload)) in (1..).zip(commands) {
            batch.push(RequestId(id), *kind, payload);
        }
        self.index += 1;
        self.lines.push(format!("commit {}", self.index));
        let data = if commands.is_empty() { Bytes::new() } else { batch.finish(origin) };
        self.step(Input::Committed { index: LogIndex(self.index), term: Term(1), data });
        self
    }

    /// Performs all tasks and hands back the answers.
    fn shards(&mut self) -> &mut Self {
        for (shard, task) in std::mem::take(&mut self.tasks) {
            let (store, journal) = &mut self.shards[usize::from(shard.0)];
            let mut answer = perform(store, shard, &task, journal);
            if let ShardTask::Compact(compact) = task {
                while !store.compact_step(10) {}
                answer = compact.answer.then_some(ShardAnswer::Compacted { index: compact.index });
            }
            if let Some(answer) = answer {
                let name = match &answer {
                    ShardAnswer::Marked { .. } => "marked",
                    ShardAnswer::Evaluated { .. } => "evaluated",
                    ShardAnswer::Installed { .. } => "installed",
                    ShardAnswer::Compacted { .. } => "compacted",
                };
                self.lines.push(format!("shard {shard} {name}"));
                self.step(Input::FromShard { shard, answer });
            }
        }
        self
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.sequencer.step(input, &mut out).unwrap();
        for output in out {
            self.lines.push(format!("  {}", show(&output)));
            if let Output::ToShard { shard, task } = output {
                self.tasks.push((shard, task));
            }
        }
    }

    fn check(&self, expect: &Expect) {
        expect.assert_eq(&(self.lines.join("\n") + "\n"));
    }
}

fn show(output: &Output) -> String {
    match output {
        Output::ToShard { shard, task } => {
            let task = match task {
                ShardTask::Puts(run) => {
                    let revisions: Vec<_> = run.puts.iter().map(|put| put.revision.0).collect();
                    format!("puts {revisions:?}{}", if run.last.is_some() { " last" } else { "" })
                }
                ShardTask::Evaluate(task) => format!("evaluate {:?}", task.part),
                ShardTask::Install(task) => format!("install {:?} results {}", task.part, task.want_results),
                ShardTask::Compact(task) => format!("compact {} answer {}", task.revision, task.answer),
                ShardTask::System(system) => {
                    let names: Vec<_> =
                        system.records.iter().map(|r| String::from_utf8_lossy(&r.0)).collect();
                    format!("system {} {names:?}", system.index)
                }
                ShardTask::Mark(index) => format!("mark {index}"),
                ShardTask::Snapshot(id) => format!("snapshot {id:?}"),
                ShardTask::Advance { index, .. } => format!("advance {index}"),
            };
            format!("shard {shard}: {task}")
        }
        Output::Reply { id, result: Ok(response) } => {
            if let Response::Members { members, .. } = &**response {
                let ids: Vec<_> = members.iter().map(|m| m.id).collect();
                return format!("reply {id} members {ids:?}");
            }
            let header = match &**response {
                Response::Put(put) => put.header,
                Response::DeleteRange(delete) => delete.header,
                Response::Txn(txn) => txn.header,
                Response::Compaction(compaction) => compaction.header,
                Response::LeaseGrant(grant) => grant.header,
                Response::LeaseRevoke(revoke) => revoke.header,
                Response::Auth(response) => response.header,
                Response::Alarm { response, .. } => response.header,
                Response::Members { .. } => unreachable!("shown above"),
            };
            format!("reply {id} at {}", header.unwrap().revision)
        }
        Output::News(News::Auth { auth, invalid }) => format!("auth {} {invalid:?}", auth.revision()),
        Output::News(News::Token { token, user }) => format!("token {token} of {user}"),
        Output::News(News::Alarms(alarms)) => {
            format!("alarms {:?}", alarms.iter().map(|a| a.alarm).collect::<Vec<_>>())
        }
        Output::News(News::Marked { index, .. }) => format!("marked {index}"),
        Output::News(News::Members(members)) => {
            format!("members {:?}", members.iter().map(|m| m.id).collect::<Vec<_>>())
        }
        Output::Reply { id, result: Err(error) } => format!("reply {id}: {error}"),
        Output::PutReplies { commands, first_revision, .. } => {
            format!("replies {commands:?} from {first_revision}")
        }
        Output::Lease(event) => format!("{event:?}"),
        Output::Applied(state) => format!("applied {} revision {}", state.index, state.revision),
    }
}

fn put(key: &'static str) -> (CommandKind, Vec<u8>) {
    let request = PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() };
    (CommandKind::Put, request.encode_to_vec())
}

fn put_prev(key: &'static str) -> (CommandKind, Vec<u8>) {
    let request = PutRequest { key: key.into(), prev_kv: true, ..PutRequest::default() };
    (CommandKind::Put, request.encode_to_vec())
}

fn delete(key: &'static str) -> (CommandKind, Vec<u8>) {
    (CommandKind::DeleteRange, DeleteRangeRequest { key: key.into(), ..Default::default() }.encode_to_vec())
}

fn compact(revision: i64, physical: bool) -> (CommandKind, Vec<u8>) {
    (CommandKind::Compaction, CompactionRequest { revision, physical }.encode_to_vec())
}

fn member(kind: CommandKind, id: u64) -> (CommandKind, Vec<u8>) {
    let peer_ur_ls = vec![format!("http://127.0.0.1:{id}")];
    (kind, Member { id, peer_ur_ls, ..Member::default() }.encode_to_vec())
}

#[test]
fn members_change_in_log_order_and_are_kept_as_records() {
    let mut trace = Trace::new(1);
    trace.commit(&[member(CommandKind::MemberAdd, 1)]);
    trace.commit(&[put("a"), member(CommandKind::MemberAdd, 2), member(CommandKind::MemberAdd, 2)]);
    trace.commit(&[member(CommandKind::MemberRemove, 1), member(CommandKind::MemberRemove, 1)]);
    trace.check(&expect![[r#"
        commit 1
          members [1]
          shard 0: system 1 ["member/0000000000000001"]
          applied 1 revision 1
          reply 1 members [1]
        commit 2
          shard 0: puts [2]
          members [1, 2]
          shard 0: system 2 ["member/0000000000000002"]
          applied 2 revision 2
          replies 0..1 from 2
          reply 2 members [1, 2]
          reply 3: etcdserver: member ID already exist
        commit 3
          members [2]
          shard 0: system 3 ["member/0000000000000001", "removed/0000000000000001"]
          applied 3 revision 2
          reply 1 members [2]
          reply 2: etcdserver: member not found
    "#]]);
}

#[test]
fn plain_puts_are_answered_without_a_shard() {
    let mut trace = Trace::new(2);
    trace
        .commit(&[put("a"), put("b"), put("c")])
        .commit(&[])
        .commit_from(Origin { member: MemberId(2), ..US }, &[put("a")]);
    trace.check(&expect![[r#"
        commit 1
          shard 0: puts [3, 4] last
          shard 1: puts [2] last
          applied 1 revision 4
          replies 0..3 from 2
        commit 2
          shard 0: advance 2
          shard 1: advance 2
          applied 2 revision 4
        commit 3
          shard 1: puts [5] last
          shard 0: advance 3
          applied 3 revision 5
    "#]]);
}

#[test]
fn a_delete_waits_for_its_shard_and_later_entries_wait_for_it() {
    let mut trace = Trace::new(2);
    trace.commit(&[put("a"), delete("a"), delete("b"), put("c")]).commit(&[put("d")]);
    trace.shards().shards();
    trace.check(&expect![[r#"
        commit 1
          shard 1: puts [2]
          shard 0: evaluate [1]
          shard 1: evaluate [0]
        commit 2
        shard 0 evaluated
        shard 1 evaluated
          shard 1: install [0] results true
          shard 0: puts [4]
          shard 0: advance 1
          shard 1: advance 1
          applied 1 revision 4
          replies 0..1 from 2
          reply 3 at 3
          replies 3..4 from 4
          shard 1: puts [5] last
          shard 0: advance 2
          applied 2 revision 5
          replies 0..1 from 5
        shard 1 installed
          reply 2 at 3
    "#]]);
}

#[test]
fn what_is_certain_is_installed_without_evaluation() {
    let mut trace = Trace::new(1);
    trace.commit(&[put_prev("a"), put("b")]).shards();
    trace.check(&expect![[r#"
        commit 1
          shard 0: install [0] results true
          shard 0: puts [3]
          shard 0: advance 1
          applied 1 revision 3
          replies 1..2 from 3
        shard 0 installed
          reply 1 at 2
    "#]]);
}

#[test]
fn compactions_are_judged_in_log_order() {
    let mut trace = Trace::new(2);
    trace.commit(&[compact(0, false), compact(0, false), compact(2, false), put("a"), compact(2, true)]);
    trace.shards();
    trace.check(&expect![[r#"
        commit 1
          shard 0: compact 0 answer false
          shard 1: compact 0 answer false
          shard 1: install [0] results false
          shard 0: compact 2 answer true
          shard 1: compact 2 answer true
          shard 0: advance 1
          shard 1: advance 1
          applied 1 revision 2
          reply 1 at 1
          reply 2: etcdserver: mvcc: required revision has been compacted
          reply 3: etcdserver: mvcc: required revision is a future revision
          reply 4 at 2
        shard 0 compacted
        shard 1 compacted
          reply 5 at 2
    "#]]);
}

#[test]
fn a_committed_entry_that_is_no_batch_is_an_error() {
    let mut sequencer = Sequencer::new(US, 1, State::EMPTY, System::default());
    let input = Input::Committed { index: LogIndex(1), term: Term(1), data: Bytes::from_static(b"noise") };
    assert!(sequencer.step(input, &mut Vec::new()).is_err());
}

#[test]
fn a_command_that_does_not_decode_has_no_effect() {
    let mut trace = Trace::new(1);
    trace.commit(&[(CommandKind::Txn, vec![0xff]), (CommandKind::Compaction, vec![0xff]), put("")]).shards();
    trace.check(&expect![[r#"
        commit 1
          shard 0: advance 1
          applied 1 revision 1
          reply 1: etcdserver: corrupt cluster
          reply 2: etcdserver: corrupt cluster
          reply 3: etcdserver: key is not provided
    "#]]);
}

#[test]
fn what_an_earlier_run_proposed_is_answered_to_nobody() {
    let mut trace = Trace::new(1);
    trace.commit_from(BEFORE, &[put("a")]);
    trace.commit_from(BEFORE, &[put("a"), delete("a"), compact(2, true)]).shards().shards();
    trace.commit(&[put("a")]);
    trace.check(&expect![[r#"
        commit 1
          shard 0: puts [2] last
          applied 1 revision 2
        commit 2
          shard 0: puts [3]
          shard 0: evaluate [0]
        shard 0 evaluated
          shard 0: install [0] results false
          shard 0: compact 2 answer false
          shard 0: advance 2
          applied 2 revision 4
        commit 3
          shard 0: puts [5] last
          applied 3 revision 5
          replies 0..1 from 5
    "#]]);
}

#[test]
fn system_records_complete_their_entry_and_are_written_once() {
    let mut trace = Trace::new(2);
    let system = trace.sequencer.system_mut();
    system.put("test/a".into(), "1".into());
    system.put("test/a".into(), "2".into());
    system.put("test/b".into(), "1".into());
    system.delete(b"test/b");
    system.delete(b"test/nothing");
    trace.commit(&[put("a")]).commit(&[put("a")]);
    trace.check(&expect![[r#"
        commit 1
          shard 1: puts [2]
          shard 0: system 1 ["test/b"]
          shard 1: system 1 ["test/a"]
          applied 1 revision 2
          replies 0..1 from 2
        commit 2
          shard 1: puts [3] last
          shard 0: advance 2
          applied 2 revision 3
          replies 0..1 from 3
    "#]]);
}
