//! Changes of the members: decided here in log order, kept as system records.

use std::sync::Arc;

use prost::Message;
use windlass_api::etcdserverpb::Member;
use windlass_types::{MemberId, RequestError};

use super::{News, Output, Response, Sequencer};

impl Sequencer {
    /// Decides the next command of the entry under way, which changes the members.
    pub(super) fn member_change(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command changes the members");
        let member = Member::decode(entry.payload(&command)).map_err(|_| RequestError::Corrupt);
        // How many learners there may be is the leader's setting and was its decision.
        let outcome = member
            .and_then(|member| self.members.check(command.kind, &member, usize::MAX).map(|()| member))
            .map(|member| {
                let id = MemberId(member.id);
                Arc::make_mut(&mut self.members).apply(command.kind, member, &mut self.system);
                out.push(Output::News(News::Members(Arc::clone(&self.members))));
                let members = Arc::clone(&self.members);
                Box::new(Response::Members { kind: command.kind, id, members })
            });
        if entry.is_ours {
            entry.replies.push(Output::Reply { id: command.id, result: outcome });
        }
    }
}
