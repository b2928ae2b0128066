//! Whether a history of concurrent calls can be that of one store which takes one call at a time: the search of Wing and
//! Gong, with Lowe's cache of what was tried ("WGL").
//!
//! It knows nothing but when each call began and ended and what it was told, so it trusts neither logs nor revisions nor
//! watches. The price is a search, exponential at worst: it is bounded, and may give up. A history is cut into those of
//! single keys first, which loses nothing for calls that concern one key (linearizability is local: Herlihy and Wing 1990,
//! theorem 1); a call that concerns several keys is taken for one on each of them at the same time, which may let a wrong
//! history pass and never refuses a right one.

pub mod key;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What one call at a time does to the state.
pub trait Model {
    /// Of a call, and what it was told.
    type Operation: PartialEq;
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
#[derive(Clone)]
struct Place<S> {
    at: Point<S>,
    /// Of the calls that were not answered those which took effect.
    effects: Vec<usize>,
}

/// Of the calls that were answered, in the order in which they began,
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point<S> {
    /// all before this one are ordered,
    base: usize,
    /// and these behind it.
    ahead: Vec<usize>,
    state: S,
}

/// What is to be tried from a place.
enum Try<S> {
    /// A call that was answered, or one that was not and after which another one can be next that could not before.
    Next(Place<S>),
    /// Any other call that was not answered: it may have taken effect without a trace.
    Guess(Place<S>),
}

/// A history under search.
struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Operation>],
    /// The calls that were answered, and those that were not, each in the order in which they began.
    answered: Vec<usize>,
    unanswered: Vec<usize>,
    /// For each of those that were not the one before it that is equal. It takes effect first: it could do so whenever this one can.
    twins: Vec<Option<usize>>,
    /// For each point the effects with which it was reached; what can be next after more of them can be after fewer.
    tried: HashMap<Point<M::State>, Vec<Vec<usize>>>,
    /// By the number of guesses.
    open: BTreeMap<usize, Vec<Try<M::State>>>,
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
    let (answered, unanswered): (Vec<usize>, Vec<usize>) =
        by_begin.into_iter().partition(|&call| calls[call].ended.is_some());
    let operation = |at: usize| &calls[unanswered[at]].operation;
    let twin = |at: usize| (0..at).rev().find(|&before| operation(before) == operation(at));
    let twins = (0..unanswered.len()).map(twin).collect();
    let (tried, open) = (HashMap::new(), BTreeMap::new());
    let search = Search { model, calls, answered, unanswered, twins, tried, open };
    let at = Point { base: 0, ahead: Vec::new(), state: initial };
    search.run(Place { at, effects: Vec::new() }, steps_max)
}

impl<M: Model> Search<'_, M> {
    fn run(mut self, from: Place<M::State>, steps_max: u64) -> Verdict {
        self.open.insert(0, vec![Try::Next(from)]);
        let (mut furthest, mut stuck) = (0, Vec::new());
        let mut steps = 0;
        while let Some((guesses, place)) = self.pop() {
            if steps == steps_max {
                return Verdict::Undecided;
            }
            steps += 1;
            match place {
                Try::Next(place) if place.at.base == self.answered.len() => return Verdict::Linearizable,
                Try::Next(place) => {
                    let ordered = place.at.base + place.at.ahead.len();
                    if ordered >= furthest {
                        furthest = ordered;
                        let (candidates, _) = self.candidates(&place.at);
                        stuck = candidates.into_iter().map(|at| self.answered[at]).collect();
                    }
                    self.go_on(place, guesses);
                }
                Try::Guess(place) => {
                    for effect in self.effects(&place, false) {
                        self.reach(effect, guesses);
                    }
                }
            }
        }
        Verdict::Impossible(stuck)
    }

    /// The newest of what takes the fewest guesses, and how many those are.
    fn pop(&mut self) -> Option<(usize, Try<M::State>)> {
        let mut fewest = self.open.first_entry()?;
        let guesses = *fewest.key();
        let next = fewest.get_mut().pop();
        if fewest.get().is_empty() {
            fewest.remove();
        }
        next.map(|next| (guesses, next))
    }

    /// Opens a place, unless it or a better one was opened before.
    fn reach(&mut self, place: Place<M::State>, guesses: usize) {
        let tried = self.tried.entry(place.at.clone()).or_default();
        let is_part = |of: &Vec<usize>| of.iter().all(|effect| place.effects.binary_search(effect).is_ok());
        if !tried.iter().any(is_part) {
            tried.push(place.effects.clone());
            self.open.entry(guesses).or_default().push(Try::Next(place));
        }
    }

    /// Opens the places after one call more; what is to be tried first is opened last.
    fn go_on(&mut self, place: Place<M::State>, guesses: usize) {
        let (candidates, _) = self.candidates(&place.at);
        let mut next = Vec::new();
        for &at in candidates.iter().rev() {
            let Some(state) = self.step(&place.at.state, at) else { continue };
            let changes_nothing = state == place.at.state;
            let after = Place { at: ordered(&place.at, at, state), effects: place.effects.clone() };
            if changes_nothing {
                // Whatever can come later can come after it.
                return self.reach(after, guesses);
            }
            next.push(after);
        }
        for place in self.effects(&place, true).into_iter().chain(next) {
            self.reach(place, guesses);
        }
        self.open.entry(guesses + 1).or_default().push(Try::Guess(place));
    }

    fn step(&self, state: &M::State, answered: usize) -> Option<M::State> {
        self.model.step(state, &self.calls[self.answered[answered]].operation)
    }

    /// The calls that can come next as far as time goes, as no call that is not ordered yet ended before they began; and when
    /// the first of those ended.
    fn candidates(&self, point: &Point<M::State>) -> (Vec<usize>, u64) {
        let mut first_end = u64::MAX;
        let mut candidates = Vec::new();
        for at in point.base..self.answered.len() {
            let call = &self.calls[self.answered[at]];
            if call.begun > first_end {
                break;
            }
            if point.ahead.binary_search(&at).is_err() {
                first_end = first_end.min(call.ended.unwrap_or(u64::MAX));
                candidates.push(at);
            }
        }
        candidates.retain(|&at| self.calls[self.answered[at]].begun <= first_end);
        (candidates, first_end)
    }

    /// The places after one call more that was not answered: those after which another call can be next that could not before
    /// (`help`), or the others.
    fn effects(&self, place: &Place<M::State>, help: bool) -> Vec<Place<M::State>> {
        let (candidates, first_end) = self.candidates(&place.at);
        let stuck: Vec<usize> =
            candidates.into_iter().filter(|&at| self.step(&place.at.state, at).is_none()).collect();
        let mut places = Vec::new();
        for (at, &call) in self.unanswered.iter().enumerate() {
            if self.calls[call].begun > first_end {
                break;
            }
            let Err(slot) = place.effects.binary_search(&at) else { continue };
            if self.twins[at].is_some_and(|twin| place.effects.binary_search(&twin).is_err()) {
                continue;
            }
            let step = self.model.step(&place.at.state, &self.calls[call].operation);
            let Some(state) = step.filter(|state| *state != place.at.state) else { continue };
            if stuck.iter().any(|&at| self.step(&state, at).is_some()) == help {
                let mut effects = place.effects.clone();
                effects.insert(slot, at);
                places.push(Place { at: Point { state, ..place.at.clone() }, effects });
            }
        }
        places
    }
}

/// The point after an answered call more.
fn ordered<S: Clone>(point: &Point<S>, at: usize, state: S) -> Point<S> {
    let (mut base, mut ahead) = (point.base, point.ahead.clone());
    if let Err(slot) = ahead.binary_search(&at) {
        ahead.insert(slot, at);
    }
    let behind = ahead.iter().zip(base..).take_while(|(ordered, next)| *ordered == next).count();
    ahead.drain(..behind);
    base += behind;
    Point { base, ahead, state }
}

#[cfg(test)]
mod tests;
