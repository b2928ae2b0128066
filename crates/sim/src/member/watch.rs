//! The shell around the watchers of a member, as thin as the server's `net::watch`: it hands over requests and what shards
//! say, and sends responses. Known bugs are what such a shell could do wrong.

use prost::Message;
use windlass_api::etcdserverpb::{ResponseHeader, WatchResponse};
use windlass_replica::task::{Changes, ChangesQuery, Query, ReadTask};
use windlass_replica::watch::{Action, Events, Follow, FollowNews, Kind, Now, Response, Sink, Watchers};
use windlass_types::{LogIndex, Revision, ShardId};

use super::net::ToNet;
use super::shards::ToShard;
use super::{Member, Ticket};
use crate::audience::{StreamId, WatchAsk};
use crate::bug::Bug;
use crate::env::Env;
use crate::mailbox::Sender;

/// The watchers, and whether they are about to go on.
pub struct WatchSide {
    watchers: Watchers<StreamId>,
    working: bool,
}

/// What makes watchers go on.
pub enum WatchInput {
    /// A client asks for something.
    Asked(StreamId, WatchAsk),
    /// A shard that is followed says something.
    Followed(ShardId, FollowNews),
    /// A shard answered a read of history.
    Answered(ShardId, windlass_replica::watch::ReadId, Changes),
    /// Some time has passed.
    Sweep,
    /// Those that are behind may go on.
    Work,
}

/// Where responses go.
struct Outlet<'a> {
    env: &'a mut Env,
}

impl Sink<StreamId> for Outlet<'_> {
    fn send(&mut self, stream: StreamId, response: &Response<'_>) -> bool {
        let Self { env } = self;
        if let Kind::Events { events, with_previous, fragment: false } = response.kind
            && let Some(at) = events.windows(2).position(|two| two[0].revision == two[1].revision)
            && env.strikes(Bug::DividedRevision, 4)
        {
            let (first, rest) = events.split_at(at + 1);
            let part = |events| Response {
                kind: Kind::Events { events, with_previous, fragment: false },
                ..*response
            };
            env.respond(stream, decoded(&part(first)));
            return env.respond(stream, decoded(&part(rest)));
        }
        if matches!(response.kind, Kind::Events { .. }) && env.strikes(Bug::RepeatedEvents, 30) {
            env.respond(stream, decoded(response));
        }
        env.respond(stream, decoded(response))
    }
}

fn decoded(response: &Response<'_>) -> WatchResponse {
    let mut bytes = Vec::new();
    response.encode(&ResponseHeader::default(), &mut bytes);
    WatchResponse::decode(&*bytes).expect("a response is a protobuf message")
}

impl WatchSide {
    /// Nobody watches.
    pub(super) fn new(shards: u16, fragment_bytes: usize) -> Self {
        Self { watchers: Watchers::new(shards, fragment_bytes), working: false }
    }
}

impl Member {
    /// A client of the Watch service asks for something.
    pub fn watch_asked(&mut self, stream: StreamId, ask: WatchAsk, env: &mut Env) {
        let asked = WatchInput::Asked(stream, ask);
        self.tell_net(Sender::Viewer(stream), ToNet::Watch(asked), env);
    }

    pub(super) fn watch_step(&mut self, input: WatchInput, env: &mut Env) {
        let now = self.watch_now(env);
        let input = sabotaged(input, env);
        let WatchSide { watchers, working } = &mut self.watch;
        let mut outlet = Outlet { env };
        match input {
            WatchInput::Asked(stream, ask) => match ask {
                WatchAsk::Open { interval_ns } => watchers.open(stream, interval_ns, now.ns),
                WatchAsk::Request(request) => watchers.request(stream, request, now, &mut outlet),
                WatchAsk::Writable if outlet.env.strikes(Bug::StreamLeftFull, 1) => {}
                WatchAsk::Writable => watchers.writable(stream, now, &mut outlet),
                WatchAsk::Close => watchers.close(stream),
            },
            WatchInput::Followed(shard, news) => watchers.followed(shard, news, now, &mut outlet),
            WatchInput::Answered(shard, id, changes) => {
                watchers.answered(id, shard, changes, now, &mut outlet);
            }
            WatchInput::Sweep => watchers.tick(now, &mut outlet),
            WatchInput::Work => {
                *working = false;
                watchers.work(now, &mut outlet);
            }
        }
        self.watch_carry_out(env);
    }

    fn watch_now(&self, env: &mut Env) -> Now {
        let state = self.consensus.core.numbered();
        let hidden = env.strikes(Bug::HiddenCompaction, 1);
        let compact_revision = if hidden { Revision(-1) } else { state.compact_revision };
        Now { revision: state.revision, compact_revision, ns: env.shows_ns() }
    }

    fn watch_carry_out(&mut self, env: &mut Env) {
        let actions: Vec<Action> = self.watch.watchers.actions().collect();
        for action in actions {
            match action {
                Action::Follow(shard, follow) => {
                    let follow = match follow {
                        Follow::Begin { epoch, with_previous: true }
                            if env.strikes(Bug::ForgottenPrevious, 1) =>
                        {
                            Follow::Begin { epoch, with_previous: false }
                        }
                        follow => follow,
                    };
                    let whom = self.shard_ids().filter(|s| shard.is_none_or(|only| only == *s));
                    for shard in whom {
                        self.tell_shard(shard.0, Sender::Net, ToShard::Follow(follow), env);
                    }
                }
                Action::Read { id, shards, query } => {
                    let query = match env.strikes(Bug::SkippedAtJoin, 4) {
                        true => ChangesQuery { from: query.from.next(), ..query },
                        false => query,
                    };
                    for shard in shards.iter() {
                        let (min_index, revision) = (LogIndex::ZERO, query.through);
                        let task = ReadTask { min_index, revision, query: Query::Changes(query.clone()) };
                        self.tell_shard(shard.0, Sender::Net, ToShard::Read(task, Ticket::Watch(id)), env);
                    }
                }
            }
        }
        if self.watch.watchers.has_work() && !self.watch.working {
            self.watch.working = true;
            self.tell_net(Sender::Net, ToNet::Watch(WatchInput::Work), env);
        }
    }
}

/// Known bugs in what is handed over.
fn sabotaged(input: WatchInput, env: &mut Env) -> WatchInput {
    match input {
        WatchInput::Followed(shard, FollowNews::Changed { events, through })
            if !events.is_empty() && env.strikes(Bug::LostEvents, 30) =>
        {
            drop(events);
            WatchInput::Followed(shard, FollowNews::Changed { events: Events::default().into(), through })
        }
        WatchInput::Followed(shard, FollowNews::Changed { events, through })
            if env.strikes(Bug::EagerProgress, 10) =>
        {
            WatchInput::Followed(shard, FollowNews::Changed { events, through: through.next() })
        }
        WatchInput::Answered(shard, id, Changes::Compacted(through))
            if env.strikes(Bug::HiddenCompaction, 1) =>
        {
            WatchInput::Answered(shard, id, Changes::Found { events: Events::default(), through })
        }
        input => input,
    }
}
