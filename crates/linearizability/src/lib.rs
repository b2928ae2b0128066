//! Whether a history of concurrent calls can be that of one store which takes one call at a time: the search of Wing and
//! Gong, with Lowe's cache of what was tried ("WGL").
//!
//! It knows nothing but when each call began and ended and what it was told, so it trusts neither logs nor revisions nor
//! watches. The price is a search, exponential at worst: it is bounded, and may give up. A history is cut into those of
//! single keys first, which loses nothing for calls that concern one key (linearizability is local: Herlihy and Wing 1990,
//! theorem 1); a call that concerns several keys is taken for one on each of them at the same time, which may let a wrong
//! history pass and never refuses a right one.

pub mod key;

use std::collections::HashSet;
use std::hash::Hash;

/// What one call at a time does to the state.
pub trait Model {
    /// Of a call, and what it was told.
    type Operation;
    /// What is stored.
    type State: Clone + Eq + Hash;

    /// The state after the call, if it can have been told what it was.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call<O> {
    /// When it was sent.
    pub begun: u64,
    /// When it was answered. A call without an answer took effect at some time after it was sent, or never.
    pub ended: Option<u64>,
    /// What it was, and what it was told.
    pub operation: O,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order in which one store can have given these answers.
    Linearizable,
    /// There is none. After the most calls that can be ordered, none of these can have been next.
    Impossible(Vec<usize>),
    /// It took too many steps.
    Undecided,
}

/// What was ordered so far, and the state after it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place<S> {
    /// Of the calls that were answered, in the order in which they began, all before this one are ordered,
    base: usize,
    /// and these behind it.
    ahead: Vec<usize>,
    /// Of the calls that were not answered those which took effect.
    effects: Vec<usize>,
    state: S,
}

/// A history under search.
struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Operation>],
    /// The calls that were answered, and those that were not, each in the order in which they began.
    answered: Vec<usize>,
    unanswered: Vec<usize>,
}

/// Searches for an order, for at most so many steps.
pub fn check<M: Model>(
    model: &M,
    initial: M::State,
    calls: &[Call<M::Operation>],
    steps_max: u64,
) -> Verdict {
    let mut by_begin: Vec<usize> = (0..calls.len()).collect();
    by_begin.sort_by_key(|&call| calls[call].begun);
    let (answered, unanswered) = by_begin.into_iter().partition(|&call| calls[call].ended.is_some());
    let search = Search { model, calls, answered, unanswered };
    search.run(Place { base: 0, ahead: Vec::new(), effects: Vec::new(), state: initial }, steps_max)
}

impl<M: Model> Search<'_, M> {
    fn run(&self, from: Place<M::State>, steps_max: u64) -> Verdict {
        let mut tried: HashSet<Place<M::State>> = HashSet::new();
        let mut open = vec![from];
        let (mut furthest, mut stuck) = (0, Vec::new());
        let mut steps = 0;
        while let Some(place) = open.pop() {
            if place.base == self.answered.len() {
                return Verdict::Linearizable;
            }
            if steps == steps_max {
                return Verdict::Undecided;
            }
            steps += 1;
            let ordered = place.base + place.ahead.len();
            if ordered >= furthest {
                furthest = ordered;
                stuck = self.candidates(&place).0.iter().map(|&at| self.answered[at]).collect();
            }
            for next in self.next(&place) {
                if tried.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Verdict::Impossible(stuck)
    }

    /// The calls that can come next as far as time goes: no call that is not ordered yet ended before they began.
    fn candidates(&self, place: &Place<M::State>) -> (Vec<usize>, u64) {
        let mut first_end = u64::MAX;
        let mut candidates = Vec::new();
        for at in place.base..self.answered.len() {
            let call = &self.calls[self.answered[at]];
            if call.begun > first_end {
                break;
            }
            if place.ahead.binary_search(&at).is_err() {
                first_end = first_end.min(call.ended.unwrap_or(u64::MAX));
                candidates.push(at);
            }
        }
        candidates.retain(|&at| self.calls[self.answered[at]].begun <= first_end);
        (candidates, first_end)
    }

    /// The places after one call more; what is to be tried first comes last.
    fn next(&self, place: &Place<M::State>) -> Vec<Place<M::State>> {
        let (candidates, first_end) = self.candidates(place);
        let mut next = Vec::new();
        // Whether an unanswered call took effect is tried only where nothing else helps.
        for (at, &call) in self.unanswered.iter().enumerate() {
            if self.calls[call].begun > first_end {
                break;
            }
            let Err(slot) = place.effects.binary_search(&at) else { continue };
            let Some(state) = self.model.step(&place.state, &self.calls[call].operation) else { continue };
            if state == place.state {
                continue;
            }
            let mut effects = place.effects.clone();
            effects.insert(slot, at);
            next.push(Place { effects, state, ..place.clone() });
        }
        for at in candidates.into_iter().rev() {
            let operation = &self.calls[self.answered[at]].operation;
            let Some(state) = self.model.step(&place.state, operation) else { continue };
            let changes_nothing = state == place.state;
            let after = self.ordered(place, at, state);
            if changes_nothing {
                // Whatever can come later can come after it.
                return vec![after];
            }
            next.push(after);
        }
        next
    }

    fn ordered(&self, place: &Place<M::State>, at: usize, state: M::State) -> Place<M::State> {
        let Place { mut base, mut ahead, effects, .. } = place.clone();
        if let Err(slot) = ahead.binary_search(&at) {
            ahead.insert(slot, at);
        }
        let behind = ahead.iter().zip(base..).take_while(|(ordered, next)| *ordered == next).count();
        ahead.drain(..behind);
        base += behind;
        Place { base, ahead, effects, state }
    }
}

#[cfg(test)]
mod tests;
