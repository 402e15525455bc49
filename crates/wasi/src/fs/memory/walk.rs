//! The way from a path to a node.
//!
//! Invariant: neither the path nor a link on the way leads above the directory it starts from. Lookups
//! lock one directory at a time.

use std::sync::Arc;

use super::node::{Body, Node};
use crate::alloc::text_of;
use crate::errno::Errno;

/// As on Linux.
const LINKS_MAX: u32 = 40;

/// Where a path leads.
pub struct Resolved {
    pub parent: Arc<Node>,
    /// `None` if the path ends in `.` or `..` and so names no entry.
    pub name: Option<Box<str>>,
    pub node: Option<Arc<Node>>,
}

impl Resolved {
    pub fn existing(self) -> Result<Arc<Node>, Errno> {
        self.node.ok_or(Errno::Noent)
    }
}

/// Walks from a directory along a path. Neither the path nor a link on the way
/// leads above that directory, which is the whole of what a guest can reach
/// by it: above is `ENOTCAPABLE`, as is a link to an absolute path.
pub fn walk(start: &Arc<Node>, path: &str, follow: bool) -> Result<Resolved, Errno> {
    walk_on(start, path, follow, false)
}

/// The same for a file that may have to be made. Where a link ends in a slash that is `EISDIR`, whatever
/// is there.
pub fn walk_to_create(start: &Arc<Node>, path: &str, follow: bool) -> Result<Resolved, Errno> {
    walk_on(start, path, follow, true)
}

fn walk_on(start: &Arc<Node>, path: &str, follow: bool, create: bool) -> Result<Resolved, Errno> {
    let mut above: Vec<Arc<Node>> = Vec::new();
    let mut here = start.clone();
    let mut links = 0;
    let mut todo: Vec<Box<str>> = Vec::new();
    push_components(&mut todo, path)?;
    loop {
        let Some(component) = todo.pop() else {
            return Ok(Resolved { node: Some(here.clone()), parent: here, name: None });
        };
        let is_last = todo.is_empty();
        match &*component {
            "" | "." => {
                here.require_directory()?;
            }
            ".." => {
                here.require_directory()?;
                here = above.pop().ok_or(Errno::Notcapable)?;
            }
            name => {
                if create && !is_last && todo.iter().all(|rest| rest.is_empty()) {
                    return Err(Errno::Isdir);
                }
                let child = here.child(name)?;
                if let Some(node) = &child
                    && let Body::Link(contents) = &node.body
                    && (follow || !is_last)
                {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::Loop);
                    }
                    if contents.starts_with('/') {
                        return Err(Errno::Notcapable);
                    }
                    push_components(&mut todo, contents)?;
                } else if is_last {
                    return Ok(Resolved { parent: here, name: Some(component), node: child });
                } else {
                    let child = child.ok_or(Errno::Noent)?;
                    child.require_directory()?;
                    above.try_reserve(1).map_err(|_| Errno::Nomem)?;
                    above.push(std::mem::replace(&mut here, child));
                }
            }
        }
    }
}

/// In reverse: the first component is the last.
fn push_components(todo: &mut Vec<Box<str>>, path: &str) -> Result<(), Errno> {
    let components = path.rsplit('/');
    todo.try_reserve(components.clone().count()).map_err(|_| Errno::Nomem)?;
    for component in components {
        todo.push(text_of(component)?);
    }
    Ok(())
}
