//! The process of a member whose shards are damaged, as the server's: it asks for a snapshot, takes it, and begins anew.

use bytes::Bytes;
use windlass_records::state::State;
use windlass_types::LogIndex;

use crate::agenda::SECOND_NS;
use crate::env::{Env, Event};
use crate::member::Member;
use crate::network::Content;
use crate::report::Count;
use crate::transfer::{Arrived, Parcel};

/// How long a snapshot may take to arrive, in nanoseconds.
const PATIENCE_NS: u64 = 10 * SECOND_NS;

/// See the module.
pub struct Repair {
    /// The snapshot must reach up to here.
    log_start: LogIndex,
    arriving: Option<Arriving>,
}

/// One that is taken.
struct Arriving {
    from: usize,
    id: u64,
    state: State,
    frames: Vec<Bytes>,
    since_ns: u64,
}

impl Repair {
    /// Begins to ask.
    #[must_use]
    pub fn begin(log_start: LogIndex, env: &mut Env) -> Self {
        env.totals.count(Count::Repairs);
        env.site_mut().up = true;
        env.begin_to_connect();
        env.after(SECOND_NS, Event::Ask(env.life()));
        Self { log_start, arriving: None }
    }

    /// Something happens here; whether the process is to begin anew.
    pub fn happen(&mut self, event: Event, env: &mut Env, members: &mut [Option<Member>]) -> bool {
        let now = env.life();
        match event {
            Event::Connect(life, peer) if life == now => {
                env.connect(peer);
            }
            Event::Disconnect(life, peer, epoch) if life == now && env.disconnect(peer, epoch) => {
                self.arriving.take_if(|arriving| arriving.from == peer);
            }
            Event::Ask(life) if life == now => self.ask(env, members),
            Event::Arrive(packet) if env.reaches(&packet) => {
                if let Content::Bulk(parcel) = packet.content {
                    return self.parcel(packet.from, parcel, env);
                }
            }
            _ => {}
        }
        false
    }

    /// Whoever leads sends a snapshot.
    fn ask(&mut self, env: &mut Env, members: &mut [Option<Member>]) {
        let (here, now_ns) = (env.at, env.agenda.now_ns());
        env.after(SECOND_NS, Event::Ask(env.life()));
        self.arriving.take_if(|arriving| now_ns - arriving.since_ns > PATIENCE_NS);
        if self.arriving.is_some() {
            return;
        }
        for (peer, member) in members.iter_mut().enumerate() {
            if peer != here
                && let Some(member) = member
                && env.is_connected(peer)
            {
                env.at = peer;
                member.snapshot_wanted(here, env);
                env.at = here;
            }
        }
    }

    fn parcel(&mut self, from: usize, parcel: Parcel, env: &mut Env) -> bool {
        let is_it = |arriving: &Arriving, id: u64| (arriving.from, arriving.id) == (from, id);
        match parcel {
            Parcel::Begin(id, state) => {
                let wanted = state.index >= self.log_start && self.arriving.is_none();
                if wanted {
                    let since_ns = env.agenda.now_ns();
                    self.arriving = Some(Arriving { from, id, state, frames: Vec::new(), since_ns });
                }
                env.send(from, Content::Bulk(if wanted { Parcel::More(id) } else { Parcel::No(id) }));
            }
            Parcel::Chunk(id, frame) => {
                if let Some(arriving) = self.arriving.as_mut().filter(|arriving| is_it(arriving, id)) {
                    arriving.frames.push(frame);
                    env.send(from, Content::Bulk(Parcel::More(id)));
                }
            }
            Parcel::End(id) => {
                if let Some(whole) = self.arriving.take_if(|arriving| is_it(arriving, id)) {
                    env.tell(|| format!("has a snapshot of entry {} to be repaired with", whole.state.index));
                    env.site_mut().arrived = Some(Arrived { state: whole.state, frames: whole.frames });
                    env.send(from, Content::Bulk(Parcel::Safe(id)));
                    return true;
                }
            }
            Parcel::More(_) | Parcel::Safe(_) | Parcel::No(_) => {}
        }
        false
    }
}
