//! What stands at path patterns, found by a path in time that does not grow with their number.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::pattern::{ANY, REST};

/// A tree over the segments of patterns.
#[derive(Debug)]
pub(super) struct Trie<T> {
    literals: HashMap<Box<[u8]>, Trie<T>>,
    any: Option<Box<Trie<T>>>,
    here: Option<T>,
    rest: Option<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), any: None, here: None, rest: None }
    }
}

impl<T> Trie<T> {
    /// The place of a pattern, by its shape.
    pub(super) fn place(&mut self, shape: &[u8]) -> &mut Option<T> {
        let mut node = self;
        for segment in segments(shape) {
            node = match segment {
                [ANY] => node.any.get_or_insert_default(),
                [REST] => return &mut node.rest,
                literal => node.literals.entry(literal.into()).or_default(),
            };
        }
        &mut node.here
    }

    /// What stands at the most specific pattern that matches the whole path: segment by segment, a
    /// literal beats `{segment}` beats the end of `/*`.
    pub(super) fn find(&self, path: &[u8]) -> Option<&T> {
        let mut best = None;
        let _ = self.walk(Some(below_root(path)), &mut |found| {
            best = Some(found);
            ControlFlow::Break(())
        });
        best
    }

    /// What stands at each pattern that matches, most specific first.
    pub(super) fn find_all(&self, path: &[u8]) -> Vec<&T> {
        let mut all = Vec::new();
        let _ = self.walk(Some(below_root(path)), &mut |found| {
            all.push(found);
            ControlFlow::Continue(())
        });
        all
    }

    /// Visits matches in order; it goes no deeper than the longest pattern.
    fn walk<'a>(
        &'a self,
        path: Option<&[u8]>,
        visit: &mut impl FnMut(&'a T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(path) = path {
            let mut parts = path.splitn(2, |byte| *byte == b'/');
            let segment = parts.next().unwrap_or_default();
            let below = parts.next();
            if let Some(literal) = self.literals.get(segment) {
                literal.walk(below, visit)?;
            }
            if let Some(any) = self.any.as_ref().filter(|_| !segment.is_empty()) {
                any.walk(below, visit)?;
            }
        } else if let Some(here) = &self.here {
            visit(here)?;
        }
        self.rest.as_ref().map_or(ControlFlow::Continue(()), visit)
    }
}

fn below_root(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

fn segments(shape: &[u8]) -> impl Iterator<Item = &[u8]> {
    below_root(shape).split(|byte| *byte == b'/')
}
