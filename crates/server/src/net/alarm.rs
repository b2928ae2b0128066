//! `Maintenance.Alarm`, and the alarm that a quota raises.

use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{AlarmRequest, AlarmResponse, AlarmType, RangeRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::alarm::AlarmCommand;
use windlass_replica::reading::ReadRequest;
use windlass_rpc::CallId;
use windlass_types::RequestError;

use super::arbiter::Arbiter;
use super::reads::Reader;

impl Arbiter {
    /// `Maintenance.Alarm`
    pub(super) fn alarm(&mut self, call: CallId, message: &[u8]) {
        let request = match AlarmRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if request.action == AlarmAction::Get as i32 {
            // As any linearizable read: it waits for its place in the log, and then looks at what was applied. So it
            // is answered by a member whose disk is full, too.
            let range = RangeRequest { key: "\0".into(), count_only: true, ..RangeRequest::default() };
            let reader = Reader::Alarms(call, request.alarm);
            return self.read(reader, ReadRequest::Range(range.into()), false);
        }
        let command = AlarmCommand { request, by_itself: false };
        self.propose(call, CommandKind::Alarm, &command.encode_to_vec());
    }

    /// Answers with the alarms of a kind as of now.
    pub(super) fn give_alarms(&self, call: CallId, kind: i32) {
        let alarms = self.published.alarms().of_kind(kind);
        self.reply(call, &AlarmResponse { header: Some(self.headers.now()), alarms });
    }

    /// Raises this member's alarm for want of room; the call for which there is none is refused when it is raised, so that
    /// a client that was refused finds the alarm.
    pub(super) fn raise_no_space(&mut self, call: CallId) {
        let request = AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: self.published.member.0,
            alarm: AlarmType::Nospace as i32,
        };
        let command = AlarmCommand { request, by_itself: true };
        self.propose(call, CommandKind::Alarm, &command.encode_to_vec());
    }

    /// An alarm was raised or lifted.
    pub(super) fn alarms_changed(&self, call: CallId, mut response: AlarmResponse, by_quota: bool) {
        if by_quota {
            return self.refuse(call, RequestError::NoSpace);
        }
        self.headers.complete(&mut response.header);
        self.reply(call, &response);
    }
}
