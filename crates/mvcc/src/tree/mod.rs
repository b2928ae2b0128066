//! A B+tree over the keys of a shard, with order statistics.
//!
//! Leaves hold slot ids in key order and a bit for each that says whether its key is live at the newest revision;
//! inner nodes hold the number of live keys below each child. Counting a range is then two descents, not a scan.
//! The tree never owns a key's versions and never looks at them: its caller tells it what is live.

mod leaf;
mod node;

use leaf::{Leaf, NO_LEAF};
use node::{Halves, Inner};

use crate::key::Key;
use crate::slots::{KeyId, Slots};

/// Deepest tree. A node splits only after at least 32 splits below it, so a deeper one would need 2^60 inserts.
const DEPTH_MAX: usize = 12;

/// The tree. Nodes lie in two arenas; a node's height, not its id, says in which.
pub(crate) struct Tree {
    leaves: Vec<Leaf>,
    inners: Vec<Inner>,
    free_leaves: Vec<u32>,
    free_inners: Vec<u32>,
    root: u32,
    /// Inner levels above the leaves.
    height: usize,
}

/// The way to a key, or to where it would be. Valid until the tree's shape changes.
pub(crate) struct Path {
    steps: [(u32, u16); DEPTH_MAX],
    leaf: u32,
    position: usize,
    found: Option<KeyId>,
}

impl Path {
    /// The key, if it is in the tree.
    pub(crate) fn found(&self) -> Option<KeyId> {
        self.found
    }
}

impl Default for Tree {
    fn default() -> Self {
        let leaves = vec![Leaf::default()];
        Self {
            leaves,
            inners: Vec::new(),
            free_leaves: Vec::new(),
            free_inners: Vec::new(),
            root: 0,
            height: 0,
        }
    }
}

impl Tree {
    /// Finds `key` or its place.
    pub(crate) fn locate(&self, slots: &Slots, key: &[u8]) -> Path {
        let mut steps = [(0, 0); DEPTH_MAX];
        let mut node = self.root;
        for step in &mut steps[..self.height] {
            let inner = &self.inners[node as usize];
            let child = inner.child_of(key);
            *step = (node, child as u16);
            node = inner.child(child);
        }
        let (position, found) = self.leaves[node as usize].search(slots, key);
        Path { steps, leaf: node, position, found }
    }

    /// Inserts a key at the place where [`locate`](Self::locate) did not find it.
    pub(crate) fn insert(&mut self, slots: &Slots, path: &Path, id: KeyId, live: bool) {
        assert!(path.found.is_none(), "a key is in the tree once");
        let leaf = &mut self.leaves[path.leaf as usize];
        if leaf.is_full() {
            self.split_leaf(slots, path, id, live);
            return;
        }
        leaf.insert(slots, path.position, id, live);
        self.add_live(path, i64::from(live));
    }

    fn split_leaf(&mut self, slots: &Slots, path: &Path, id: KeyId, live: bool) {
        let leaf = &mut self.leaves[path.leaf as usize];
        // Keys that arrive in order leave full leaves behind.
        let appending = leaf.next() == NO_LEAF && path.position == leaf.len();
        let mut right = leaf.split(if appending { leaf.len() } else { leaf.len() / 2 });
        if path.position > leaf.len() || appending {
            right.insert(slots, path.position - leaf.len(), id, live);
        } else {
            leaf.insert(slots, path.position, id, live);
        }
        right.set_next(leaf.next());
        let separator = separator(slots.key(leaf.id(leaf.len() - 1)), slots.key(right.id(0)));
        let (left_live, right_live) = (leaf.live(), right.live());
        let (left_skip, right_skip) = {
            let (lower, upper) = self.bounds(&path.steps[..self.height]);
            (in_common(lower, Some(&separator)), in_common(Some(&separator), upper))
        };
        right.set_skip(slots, right_skip);
        let right = self.place_leaf(right);
        let leaf = &mut self.leaves[path.leaf as usize];
        leaf.set_skip(slots, left_skip);
        leaf.set_next(right);
        self.add_live(path, i64::from(live));
        self.grow(path, Halves { left_live, separator, right, right_live });
    }

    /// What lies just outside of the child at the end of `steps`; `None` on a side where nothing does.
    fn bounds(&self, steps: &[(u32, u16)]) -> (Option<&Key>, Option<&Key>) {
        let up =
            || steps.iter().rev().map(|&(node, child)| (&self.inners[node as usize], usize::from(child)));
        let lower = up().find_map(|(inner, child)| inner.lower_bound(child));
        let upper = up().find_map(|(inner, child)| inner.upper_bound(child));
        (lower, upper)
    }

    /// Records whether the key that was found is live; nothing happens if that is known.
    pub(crate) fn set_live(&mut self, path: &Path, live: bool) {
        assert!(path.found.is_some(), "a key in the tree");
        let changed = self.leaves[path.leaf as usize].set_live(path.position, live);
        if changed {
            self.add_live(path, if live { 1 } else { -1 });
        }
    }

    /// Removes the key that was found. Its slot must still be there.
    pub(crate) fn remove(&mut self, slots: &Slots, path: &Path) {
        assert!(path.found.is_some(), "a key in the tree");
        let was_live = self.leaves[path.leaf as usize].remove(path.position);
        self.add_live(path, -i64::from(was_live));
        self.shrink(slots, path);
    }

    /// Number of live keys below `key`.
    pub(crate) fn rank(&self, slots: &Slots, key: &[u8]) -> u64 {
        let path = self.locate(slots, key);
        let left = path.steps[..self.height]
            .iter()
            .map(|&(node, child)| self.inners[node as usize].live_before(usize::from(child)))
            .sum::<u64>();
        left + self.leaves[path.leaf as usize].live_before(path.position)
    }

    /// Number of live keys.
    pub(crate) fn live(&self) -> u64 {
        match self.height {
            0 => self.leaves[self.root as usize].live(),
            _ => self.inners[self.root as usize].live(),
        }
    }

    /// All keys from `start` on, in order, live or not.
    pub(crate) fn iter_from<'a>(
        &'a self,
        slots: &Slots,
        start: &[u8],
    ) -> impl Iterator<Item = KeyId> + use<'a> {
        let path = self.locate(slots, start);
        let mut leaf = &self.leaves[path.leaf as usize];
        let mut position = path.position;
        std::iter::from_fn(move || {
            // A tree's only leaf may be empty, and the place of a key may be behind its leaf's last.
            while position == leaf.len() {
                if leaf.next() == NO_LEAF {
                    return None;
                }
                leaf = &self.leaves[leaf.next() as usize];
                position = 0;
            }
            position += 1;
            Some(leaf.id(position - 1))
        })
    }

    fn add_live(&mut self, path: &Path, delta: i64) {
        if delta != 0 {
            for &(node, child) in &path.steps[..self.height] {
                self.inners[node as usize].add_live(usize::from(child), delta);
            }
        }
    }

    /// Hangs the new right half of the node at the end of `path` into its parents, splitting those that are full.
    fn grow(&mut self, path: &Path, mut halves: Halves) {
        for &(node, child) in path.steps[..self.height].iter().rev() {
            let inner = &mut self.inners[node as usize];
            inner.split_child(usize::from(child), halves);
            if !inner.is_over() {
                return;
            }
            let (separator, other) = inner.split(usize::from(child));
            let (left_live, right_live) = (inner.live(), other.live());
            halves = Halves { left_live, separator, right: self.place_inner(other), right_live };
        }
        assert!(self.height < DEPTH_MAX, "the tree is deeper than any memory");
        let root = Inner::root(self.root, halves);
        self.root = self.place_inner(root);
        self.height += 1;
    }

    /// Merges the nodes on `path` that have become small with a neighbour where both fit into one. A node that finds
    /// none stays small, even empty: searching and iterating allow for that.
    fn shrink(&mut self, slots: &Slots, path: &Path) {
        let mut small = self.leaves[path.leaf as usize].is_small();
        for level in (0..self.height).rev() {
            if !small {
                return;
            }
            let (parent, child) = (path.steps[level].0, usize::from(path.steps[level].1));
            if level + 1 == self.height {
                self.join_leaves(slots, path);
            } else {
                self.join_inners(parent, child);
            }
            small = self.inners[parent as usize].is_small();
        }
        while self.height > 0 && self.inners[self.root as usize].len() == 1 {
            let only = self.inners[self.root as usize].child(0);
            self.inners[self.root as usize] = Inner::default();
            self.free_inners.push(self.root);
            self.root = only;
            self.height -= 1;
        }
    }

    fn join_leaves(&mut self, slots: &Slots, path: &Path) {
        let mut steps = path.steps;
        let steps = &mut steps[..self.height];
        let Some((parent, child)) = steps.last().copied() else { return };
        let pair = self.inners[parent as usize].pair_at(usize::from(child));
        let Some((at, left, right)) = pair else { return };
        if self.leaves[left as usize].len() + self.leaves[right as usize].len() > leaf::LEAF_KEYS {
            return;
        }
        let taken = std::mem::take(&mut self.leaves[right as usize]);
        self.leaves[left as usize].append(&taken);
        self.free_leaves.push(right);
        self.inners[parent as usize].merge_children(at);
        steps[self.height - 1].1 = at as u16;
        let (lower, upper) = self.bounds(steps);
        let skip = in_common(lower, upper);
        self.leaves[left as usize].set_skip(slots, skip);
    }

    fn join_inners(&mut self, parent: u32, child: usize) {
        let Some((at, left, right)) = self.inners[parent as usize].pair_at(child) else { return };
        if self.inners[left as usize].len() + self.inners[right as usize].len() > node::INNER_CHILDREN {
            return;
        }
        let taken = std::mem::take(&mut self.inners[right as usize]);
        let separator = self.inners[parent as usize].merge_children(at);
        self.inners[left as usize].append(separator, taken);
        self.free_inners.push(right);
    }

    fn place_leaf(&mut self, leaf: Leaf) -> u32 {
        if let Some(id) = self.free_leaves.pop() {
            self.leaves[id as usize] = leaf;
            return id;
        }
        self.leaves.push(leaf);
        u32::try_from(self.leaves.len() - 1).expect("fewer leaves than keys")
    }

    fn place_inner(&mut self, inner: Inner) -> u32 {
        if let Some(id) = self.free_inners.pop() {
            self.inners[id as usize] = inner;
            return id;
        }
        self.inners.push(inner);
        u32::try_from(self.inners.len() - 1).expect("fewer inner nodes than keys")
    }
}

/// The shortest key above `left` and at most `right`.
fn separator(left: &[u8], right: &[u8]) -> Key {
    Key::new(&right[..common_len(left, right) + 1])
}

/// How many bytes all keys between two bounds begin with alike; without a bound, none.
fn in_common(lower: Option<&Key>, upper: Option<&Key>) -> usize {
    match (lower, upper) {
        (Some(lower), Some(upper)) => common_len(lower.as_slice(), upper.as_slice()),
        _ => 0,
    }
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
