//! What happens to clocks: the one on the wall jumps, and the other one goes faster or slower from then on.

use super::World;
use crate::env::{Event, Fault};
use crate::report::Count;

impl World {
    pub(super) fn plan_clock(&mut self) {
        if self.clocks_left == 0 {
            return;
        }
        self.clocks_left -= 1;
        let site = self.time.below(self.members.len() as u64) as usize;
        let delay = 1 + self.time.below(self.env.profile.fault_ns_max);
        self.env.agenda.after(delay, (site, Event::Fault(Fault::Clock)));
    }

    pub(super) fn change_clock(&mut self) {
        let Self { env, time, .. } = self;
        let now_ns = env.agenda.now_ns();
        if time.one_in(3) {
            let tick_ns = env.profile.tick_ns(time);
            env.totals.count(Count::ClockRates);
            env.tell(|| format!("a tick takes {} us from now on", tick_ns / 1000));
            env.site_mut().clock.set_tick_ns(now_ns, tick_ns);
        } else {
            let by_ns = env.site_mut().clock.jump(now_ns, time);
            env.totals.count(Count::ClockJumps);
            env.tell(|| format!("the clock on the wall jumps by {} ms", by_ns / 1_000_000));
        }
        self.plan_clock();
    }
}
