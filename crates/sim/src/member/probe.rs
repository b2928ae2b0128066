//! When faults have stopped every member must serve: a put of its own, asked again until it is acknowledged.

use prost::Message;
use windlass_api::etcdserverpb::PutRequest;
use windlass_records::batch::CommandKind;
use windlass_replica::auth::ROOT;
use windlass_types::RequestId;

use super::Member;
use crate::administration;
use crate::agenda::MILLISECOND_NS;
use crate::clients::Request;
use crate::env::{Env, Stop};

/// Time between two attempts: a client that is refused does not ask again at once.
const PAUSE_NS: u64 = 10 * MILLISECOND_NS;

/// How far that is.
#[derive(Default)]
pub struct Probe {
    asked: Option<RequestId>,
    /// When to ask at the earliest.
    not_before_ns: u64,
    answered: bool,
}

impl Probe {
    /// A request was answered.
    pub(super) fn answered(&mut self, id: RequestId, well: bool) {
        if self.asked == Some(id) {
            self.answered = well;
        }
    }

    /// The client of a request knows.
    pub(super) fn heard(&mut self, id: RequestId) {
        if self.asked == Some(id) && !self.answered {
            self.asked = None;
        }
    }
}

impl Member {
    /// Whether the member has acknowledged a write since faults stopped; asks for one if none is under way.
    ///
    /// # Errors
    /// If a promise is broken.
    pub fn serves(&mut self, env: &mut Env) -> Result<bool, Stop> {
        let now_ns = env.agenda.now_ns();
        if self.serving && self.probe.asked.is_none() && now_ns >= self.probe.not_before_ns {
            self.probe.not_before_ns = now_ns + PAUSE_NS;
            // What forbids it goes first; who may do everything asks.
            let alarms: Vec<_> = self.core().alarms().iter().collect();
            for alarm in alarms {
                if let Request::Rule(kind, payload) = administration::lift(alarm) {
                    self.write(kind, &payload, ROOT, env)?;
                }
            }
            let put = PutRequest { key: "a".into(), value: "probe".into(), ..PutRequest::default() };
            let id = self.write(CommandKind::Put, &put.encode_to_vec(), ROOT, env)?;
            self.probe.asked = Some(id);
            self.end_turn(env);
        }
        Ok(self.probe.answered)
    }
}
