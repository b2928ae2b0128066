//! An inner node: children, the keys that separate them, and the number of live keys below each.

use crate::key::Key;

/// Children of a full inner node.
pub(super) const INNER_CHILDREN: usize = 64;

/// An inner node with fewer children looks for a neighbour to merge with.
const INNER_CHILDREN_SMALL: usize = INNER_CHILDREN / 4;

/// An inner node; `separators[i]` is at most every key below `children[i + 1]` and above every key before it.
#[derive(Default)]
pub(super) struct Inner {
    separators: Vec<Key>,
    children: Vec<u32>,
    live: Vec<u64>,
}

/// What became of a node that was split: it kept the left half.
pub(super) struct Halves {
    pub(super) left_live: u64,
    pub(super) separator: Key,
    pub(super) right: u32,
    pub(super) right_live: u64,
}

impl Inner {
    /// The root over a former root that was split.
    pub(super) fn root(left: u32, halves: Halves) -> Self {
        Self {
            separators: vec![halves.separator],
            children: vec![left, halves.right],
            live: vec![halves.left_live, halves.right_live],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    pub(super) fn is_over(&self) -> bool {
        self.len() > INNER_CHILDREN
    }

    pub(super) fn is_small(&self) -> bool {
        self.len() < INNER_CHILDREN_SMALL
    }

    pub(super) fn child(&self, at: usize) -> u32 {
        self.children[at]
    }

    /// Position of the child below which `key` lies or would lie.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        self.separators.partition_point(|separator| separator.as_slice() <= key)
    }

    /// What separates the child at `at` from the one before it.
    pub(super) fn lower_bound(&self, at: usize) -> Option<&Key> {
        self.separators.get(at.checked_sub(1)?)
    }

    /// What separates the child at `at` from the one after it.
    pub(super) fn upper_bound(&self, at: usize) -> Option<&Key> {
        self.separators.get(at)
    }

    /// Replaces the child at `at` by its two halves.
    pub(super) fn split_child(&mut self, at: usize, halves: Halves) {
        self.separators.insert(at, halves.separator);
        self.children.insert(at + 1, halves.right);
        self.live[at] = halves.left_live;
        self.live.insert(at + 1, halves.right_live);
    }

    /// Moves the right half into a new node, with the key that separates the two. `grown` is the child whose split
    /// made this necessary: if it was the last, keys arrive in order and the left node stays full.
    pub(super) fn split(&mut self, grown: usize) -> (Key, Self) {
        let at = if grown + 2 == self.len() { self.len() - 1 } else { self.len() / 2 };
        let right = Self {
            separators: self.separators.split_off(at),
            children: self.children.split_off(at),
            live: self.live.split_off(at),
        };
        (self.separators.pop().expect("a separator left of the split"), right)
    }

    /// A pair of neighbours that holds the child at `child`: the left one's position, and both.
    pub(super) fn pair_at(&self, child: usize) -> Option<(usize, u32, u32)> {
        let at = if child + 1 < self.len() { child } else { child.checked_sub(1)? };
        Some((at, self.children[at], self.children[at + 1]))
    }

    /// Lets the child at `at` stand for itself and the one after it; returns what separated them.
    pub(super) fn merge_children(&mut self, at: usize) -> Key {
        self.children.remove(at + 1);
        self.live[at] += self.live.remove(at + 1);
        self.separators.remove(at)
    }

    /// Takes the children of the node that follows; they must fit.
    pub(super) fn append(&mut self, separator: Key, mut right: Self) {
        self.separators.push(separator);
        self.separators.append(&mut right.separators);
        self.children.append(&mut right.children);
        self.live.append(&mut right.live);
    }

    pub(super) fn live(&self) -> u64 {
        self.live.iter().sum()
    }

    /// Number of live keys below the children before `child`.
    pub(super) fn live_before(&self, child: usize) -> u64 {
        self.live[..child].iter().sum()
    }

    pub(super) fn add_live(&mut self, child: usize, delta: i64) {
        self.live[child] = self.live[child].checked_add_signed(delta).expect("counts of live keys agree");
    }
}
