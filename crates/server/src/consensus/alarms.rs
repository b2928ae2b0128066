//! Alarms that members raise and lift by themselves: a leader lifts what a quota raised when there is room again, and
//! raises the alarm of a member that is damaged. Such a member serves no more, and does not lead.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context};
use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{AlarmRequest, AlarmType};
use windlass_raft::Role;
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::alarm::{AlarmCommand, Alarms, has_room_again, text};
use windlass_replica::consensus::Input;
use windlass_types::{LogIndex, MemberId};

use super::ConsensusActor;
use super::cluster::OWN_REQUEST;

/// How often a leader looks whether there is room again.
const ROOM_INTERVAL: Duration = Duration::from_millis(500);

/// The quota of this member.
pub(super) struct Quota {
    bytes: Option<u64>,
    /// Where the shards were when the process started, which they do not tell their sizes for.
    began: LogIndex,
}

impl Quota {
    pub fn new(bytes: Option<u64>, began: LogIndex) -> Self {
        Self { bytes, began }
    }
}

impl ConsensusActor {
    /// Looks now and then, while this member leads, whether alarms can go that a quota raised.
    pub(super) fn watch_room(context: &mut Context<Self>) {
        context.run_interval(ROOM_INTERVAL, |actor, context| {
            let over: Vec<MemberId> = actor.core.alarms().by_quota().collect();
            if over.is_empty() || !actor.core.raft().is_leader_ready() || !actor.has_room_again() {
                return;
            }
            for member in over {
                tracing::info!(%member, "the store has room again: the alarm is lifted");
                actor.propose_alarm(AlarmAction::Deactivate, member, AlarmType::Nospace);
            }
            actor.end_step(context);
        });
    }

    /// Whether every shard has said how large it is, and that is little enough.
    fn has_room_again(&self) -> bool {
        let Quota { bytes, began } = self.quota;
        self.published.complete() > began && has_room_again(self.published.store_bytes(), bytes)
    }

    /// Raises the alarm of a member whose state is not what it should be, if it is not raised yet.
    pub(super) fn raise_corrupt(&mut self, member: MemberId) {
        if !self.core.alarms().has(member, AlarmType::Corrupt) {
            self.propose_alarm(AlarmAction::Activate, member, AlarmType::Corrupt);
        }
    }

    /// With each tick: a member that is damaged gives leadership away. A leader answers for the leases and the members that
    /// its own records name.
    pub(super) fn yield_if_damaged(&mut self) {
        let raft = self.core.raft();
        if !self.published.is_damaged() || raft.role() != Role::Leader || raft.transferee().is_some() {
            return;
        }
        if let Some(to) = self.core.best_successor() {
            tracing::info!(%to, "handing leadership over, as this member's state differs from that of the others");
            self.feed(Input::TransferLeader(to));
        }
    }

    /// The log raised or lifted an alarm.
    pub(super) fn alarms_changed(&mut self, alarms: Arc<Alarms>) {
        let before = self.published.alarms();
        for raised in alarms.iter().filter(|alarm| before.iter().all(|known| known != *alarm)) {
            tracing::error!(alarm = text(&raised).trim_end(), "an alarm is raised");
        }
        if alarms.is_damaged(self.published.member) && !self.published.is_damaged() {
            tracing::error!("this member's state differs from that of the others: it serves no more");
        }
        for lifted in before.iter().filter(|alarm| alarms.iter().all(|still| still != *alarm)) {
            tracing::info!(alarm = text(&lifted).trim_end(), "an alarm is lifted");
        }
        self.published.set_alarms(alarms);
    }

    fn propose_alarm(&mut self, action: AlarmAction, member: MemberId, kind: AlarmType) {
        let request = AlarmRequest { action: action as i32, member_id: member.0, alarm: kind as i32 };
        let mut batch = BatchBuilder::default();
        let payload = AlarmCommand { request, by_itself: true }.encode_to_vec();
        batch.push(OWN_REQUEST, CommandKind::Alarm, &payload);
        self.feed(Input::Propose(batch));
    }
}
