//! What an operator does to a cluster while it runs: adds, promotes and removes members, and moves leadership.
//!
//! Each is asked of some member that lives, and may be refused; what was done is what the log says.

use windlass_api::etcdserverpb::Member as Record;
use windlass_records::batch::CommandKind;
use windlass_types::MemberId;

use crate::agenda::SECOND_NS;
use crate::env::{Env, Event, member_of, site_of};
use crate::member::Member;
use crate::random::Random;
use crate::report::Count;
use crate::start::urls_of;

/// Longest time from one thing that an operator does to the next, in nanoseconds.
pub const OPERATION_NS_MAX: u64 = 4 * SECOND_NS;

/// What is to be done.
enum Operation {
    Move(MemberId),
    Change(CommandKind, Record),
}

/// Does something, by way of the member at this site. A site that is to join is started.
pub fn operate(member: &mut Member, random: &mut Random, env: &mut Env) {
    let Some(operation) = choose(member, random, env) else { return };
    // Whoever knows that a member is lost sees to that first: with another one less there may be no majority.
    let is_one_lost = env.sites.iter().any(|site| site.wiped.is_some() && !site.gone);
    match operation {
        Operation::Change(..) if is_one_lost => {}
        Operation::Move(to) => {
            env.totals.count(Count::Transfers);
            member.move_leader(to, env);
        }
        Operation::Change(kind, record) => change(kind, record, member, random, env),
    }
}

fn change(kind: CommandKind, record: Record, member: &mut Member, random: &mut Random, env: &mut Env) {
    let id = MemberId(record.id);
    env.tell(|| format!("an operator asks for {kind:?} of {id}"));
    env.changed_ns = Some(env.agenda.now_ns());
    member.change(kind, record, env);
    let site = site_of(id);
    if kind == CommandKind::MemberAdd && !env.sites[site].joins {
        env.sites[site].joins = true;
        env.agenda.after(1 + random.below(SECOND_NS), (site, Event::Start));
    }
}

/// Asks for the removal of a member that lost its disks.
pub fn remove(lost: MemberId, member: &mut Member, random: &mut Random, env: &mut Env) {
    change(CommandKind::MemberRemove, Record { id: lost.0, ..Record::default() }, member, random, env);
}

/// Lets a machine that was no member yet join in the place of one that is gone.
pub fn put_in_place(member: &mut Member, random: &mut Random, env: &mut Env) {
    let mut machines = env.profile.founders..env.sites.len();
    let Some(site) = machines.find(|&site| !env.sites[site].joins).filter(|_| !env.calm) else { return };
    let id = member_of(site);
    let record =
        Record { id: id.0, peer_ur_ls: urls_of(site), is_learner: random.one_in(2), ..Record::default() };
    env.totals.count(Count::Replaced);
    change(CommandKind::MemberAdd, record, member, random, env);
}

fn choose(member: &Member, random: &mut Random, env: &Env) -> Option<Operation> {
    let members = member.core().members();
    let some = |ids: Vec<MemberId>, random: &mut Random| {
        (!ids.is_empty()).then(|| ids[random.below(ids.len() as u64) as usize])
    };
    let ids = |learns: bool| -> Vec<MemberId> {
        members.iter().filter(|m| m.is_learner == learns).map(|m| MemberId(m.id)).collect()
    };
    let of = |id: MemberId| Record { id: id.0, ..Record::default() };
    match random.below(6) {
        0 => some(ids(false), random).map(Operation::Move),
        1 | 2 => {
            let is_new = |id: &MemberId| members.get(*id).is_none() && !members.is_removed(*id);
            let new = (env.profile.founders..env.sites.len()).map(member_of).filter(is_new).collect();
            let id = some(new, random)?;
            let (peer_ur_ls, is_learner) = (urls_of(site_of(id)), random.one_in(2));
            Some(Operation::Change(CommandKind::MemberAdd, Record { peer_ur_ls, is_learner, ..of(id) }))
        }
        3 | 4 => some(ids(true), random).map(|id| Operation::Change(CommandKind::MemberPromote, of(id))),
        _ => {
            let all = members.iter().map(|m| MemberId(m.id)).collect();
            some(all, random).map(|id| Operation::Change(CommandKind::MemberRemove, of(id)))
        }
    }
}
