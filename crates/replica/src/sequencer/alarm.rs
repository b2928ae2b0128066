//! Alarms in log order: raised and lifted here, and from here on obeyed.

use std::sync::Arc;

use prost::Message;
use windlass_api::etcdserverpb::AlarmResponse;
use windlass_types::RequestError;

use super::auth::permit;
use super::{News, Output, Response, Sequencer};
use crate::alarm::AlarmCommand;
use crate::auth::Need;
use crate::lease::INTERNAL;
use crate::txn::header;

impl Sequencer {
    /// Carries out the next command of the entry under way, which is about alarms.
    pub(super) fn alarm(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command is about alarms");
        let decoded = AlarmCommand::decode(entry.payload(&command)).map_err(|_| RequestError::Corrupt);
        let permitted = decoded.and_then(|alarm| {
            // What members ask for by themselves is nobody's wish.
            if !alarm.by_itself {
                permit(&self.auth, entry, &command, Need::Root)?;
            }
            Ok(alarm)
        });
        let outcome = permitted.map(|alarm| {
            let before = Arc::clone(&self.alarms);
            let alarms = Arc::make_mut(&mut self.alarms).change(&alarm, &mut self.system);
            if before != self.alarms {
                out.push(Output::News(News::Alarms(Arc::clone(&self.alarms))));
            }
            let response = AlarmResponse { header: header(self.revision), alarms };
            Box::new(Response::Alarm { response, by_quota: alarm.by_itself })
        });
        if entry.is_ours && command.id != INTERNAL {
            entry.replies.push(Output::Reply { id: command.id, result: outcome });
        }
        let takes_runs = self.takes_runs();
        self.current.as_mut().expect("an entry is under way").takes_runs = takes_runs;
    }
}
