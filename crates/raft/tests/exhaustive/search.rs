//! Depth-first search through all states, each of them once.

use std::collections::HashMap;

use crate::model::{Bounds, Bug, Cluster, Step};

/// What was seen of a scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Different states.
    pub states: usize,
    /// Steps taken, those to states that were known included.
    pub steps: usize,
    /// Steps in the longest run.
    pub depth: usize,
}

/// What a search ends with.
#[derive(Debug)]
pub enum Verdict {
    /// No state breaks a promise.
    Holds(Seen),
    /// Some state does.
    Broken {
        /// Which promise.
        why: String,
        /// How to get there.
        steps: Vec<String>,
    },
}

/// A state whose successors are being looked at.
struct Frame {
    cluster: Cluster,
    steps: Vec<Step>,
    /// How it was reached.
    by: String,
}

/// Looks at every state within the bounds.
pub fn search(bounds: Bounds) -> Verdict {
    walk(bounds, None, usize::MAX)
}

/// Looks for what a bug breaks in runs of at most so many steps.
pub fn hunt(bounds: Bounds, bug: Bug, depth_max: usize) -> Verdict {
    walk(bounds, Some(bug), depth_max)
}

fn walk(bounds: Bounds, bug: Option<Bug>, depth_max: usize) -> Verdict {
    let first = Cluster::new(bounds);
    // The fewest steps that lead to each state: one that is reached sooner may have successors that were too deep.
    let mut known = HashMap::from([(first.fingerprint(), 0)]);
    let mut seen = Seen::default();
    let mut path = vec![Frame { steps: first.steps(), cluster: first, by: "start".to_owned() }];
    while let Some(frame) = path.last_mut() {
        let Some(step) = frame.steps.pop() else {
            path.pop();
            continue;
        };
        let mut cluster = frame.cluster.clone();
        let by = cluster.describe(step);
        seen.steps += 1;
        if let Err(why) = cluster.take(step, bug) {
            let steps = path.into_iter().map(|f| f.by).chain([by]).collect();
            return Verdict::Broken { why, steps };
        }
        let depth = path.len();
        let is_limited = depth_max != usize::MAX;
        let fewest = known.entry(cluster.fingerprint()).or_insert(usize::MAX);
        let is_new = *fewest == usize::MAX || (is_limited && depth < *fewest);
        *fewest = depth.min(*fewest);
        if is_new && depth < depth_max {
            path.push(Frame { steps: cluster.steps(), cluster, by });
            seen.depth = seen.depth.max(depth);
        }
    }
    Verdict::Holds(Seen { states: known.len(), ..seen })
}
