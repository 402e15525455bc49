//! Which functions a module gets.
//!
//! Made by the host from lists of patterns; the context asks it at each call by number and when a
//! program is linked. Pure: it looks at names alone. Invariants: every function has exactly one grant,
//! settled when the policy is made; an extension function is granted only if a pattern names its module.

use std::fmt;

use crate::errno::Errno;
use crate::names::{self, Name};

/// What becomes of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    Granted,
    /// A module that imports it does not link.
    Refused,
    /// The import exists and returns this number without doing anything.
    Stub(Errno),
}

/// The grants of one program.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By function number.
    grants: Box<[Grant]>,
}

/// All of WASI and no extension.
impl Default for Policy {
    fn default() -> Policy {
        let grant = |function: &Name| {
            if function.is_extension() { Grant::Refused } else { Grant::Granted }
        };
        Policy { grants: names::all().map(grant).collect() }
    }
}

/// A pattern that can only be a mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct UnmatchedPattern {
    pub pattern: String,
}

impl fmt::Display for UnmatchedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pattern {:?} matches no WASI function", self.pattern)
    }
}

impl std::error::Error for UnmatchedPattern {}

/// What a module asks for, and what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability<'a> {
    pub module: &'a str,
    pub name: &'a str,
    /// `None` if there is no such WASI function: it is for somebody else to
    /// provide.
    pub grant: Option<Grant>,
}

impl Policy {
    /// Grants what an `allow` pattern matches (without a list: all of WASI and
    /// no extension) and no `deny` pattern does; `otherwise` is for the rest.
    ///
    /// In a pattern `*` stands for any characters and `?` for one. A pattern
    /// without a dot is matched against the names of WASI functions; one like
    /// `wasi_native_ext.*` against the module's name too, and only such a
    /// pattern reaches an extension.
    pub fn new<S: AsRef<str>>(
        allow: Option<&[S]>,
        deny: &[S],
        otherwise: Grant,
    ) -> Result<Policy, UnmatchedPattern> {
        for pattern in allow.unwrap_or_default().iter().chain(deny) {
            let pattern = pattern.as_ref();
            if !names::all().any(|function| matches(pattern, function)) {
                let pattern = pattern.to_owned();
                return Err(UnmatchedPattern { pattern });
            }
        }
        let any = |patterns: &[S], function: &Name| {
            patterns.iter().any(|pattern| matches(pattern.as_ref(), function))
        };
        let grant = |function: &Name| {
            let allowed = match allow {
                Some(allow) => any(allow, function),
                None => !function.is_extension(),
            };
            if allowed && !any(deny, function) { Grant::Granted } else { otherwise }
        };
        Ok(Policy { grants: names::all().map(grant).collect() })
    }

    #[inline]
    pub fn grant(&self, number: usize) -> Grant {
        self.grants.get(number).copied().unwrap_or(Grant::Refused)
    }

    /// For each import of a module, what it would get.
    pub fn report<'a>(&self, imports: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Capability<'a>> {
        imports
            .into_iter()
            .map(|(module, name)| Capability {
                module,
                name,
                grant: names::find(module, name).map(|number| self.grant(number)),
            })
            .collect()
    }
}

fn matches(pattern: &str, function: &Name) -> bool {
    match pattern.split_once('.') {
        Some((module, name)) => glob(module, function.module) && glob(name, function.name),
        None => !function.is_extension() && glob(pattern, function.name),
    }
}

/// `*` is any characters, `?` is one; everything else is itself.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let tails = text.char_indices().map(|(at, _)| text.split_at(at).1);
            tails.chain([""]).any(|tail| glob(rest.as_str(), tail))
        }
        Some(wanted) => {
            let mut text = text.chars();
            text.next().is_some_and(|c| (wanted == '?' || wanted == c) && glob(rest.as_str(), text.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(policy: &Policy) -> Vec<&'static str> {
        let numbered = names::all().enumerate();
        numbered
            .filter(|(number, function)| {
                function.module != names::PREVIEW_0 && policy.grant(*number) == Grant::Granted
            })
            .map(|(_, function)| function.name)
            .collect()
    }

    fn policy(allow: &[&str], deny: &[&str]) -> Policy {
        Policy::new(Some(allow), deny, Grant::Refused).unwrap()
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("fd_*", "fd_read", true),
            ("fd_*", "path_open", false),
            ("*_get", "clock_time_get", true),
            ("*_g?t", "clock_time_get", true),
            ("fd_read", "fd_readdir", false),
            ("", "fd_read", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_allowed_and_not_denied_is_granted() {
        let names = granted(&policy(&["fd_*", "clock_time_get"], &["fd_write"]));
        assert!(names.contains(&"fd_read") && names.contains(&"clock_time_get"));
        assert!(!names.contains(&"fd_write") && !names.contains(&"path_open"));
        let all_but = Policy::new(None, &["sock_*"], Grant::Refused).unwrap();
        assert_eq!(granted(&all_but).len(), 42);
        assert_eq!(granted(&Policy::default()).len(), 46);
        assert!(granted(&policy(&[], &[])).is_empty());
    }

    #[test]
    fn an_extension_is_granted_by_its_full_name_alone() {
        for allow in [&["*"][..], &["fd_*", "path_*"]] {
            assert!(!granted(&policy(allow, &[])).contains(&"fd_lock"));
        }
        let one = policy(&["wasi_native_ext.fd_lock"], &[]);
        assert_eq!(granted(&one), ["fd_lock"]);
        assert_eq!(granted(&policy(&["*", "wasi_native_ext.*"], &[])).len(), 49);
        let denied = policy(&["wasi_native_ext.*"], &["wasi_native_ext.fd_give"]);
        assert_eq!(granted(&denied), ["fd_lock", "path_watch"]);
        // A denial that is too wide does no harm.
        let denied = policy(&["wasi_native_ext.*"], &["*.fd_*"]);
        assert_eq!(granted(&denied), ["path_watch"]);
        assert!(Policy::new(Some(&["fd_lock"]), &[], Grant::Refused).is_err());
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_a_mistake() {
        let error = Policy::new(Some(&["fd_raed"]), &[], Grant::Refused).unwrap_err();
        assert_eq!(error.to_string(), "the pattern \"fd_raed\" matches no WASI function");
        assert!(Policy::new(None, &["path_opne"], Grant::Refused).is_err());
    }

    #[test]
    fn a_report_names_what_is_refused() {
        let stub = Policy::new(Some(&["fd_*"]), &[], Grant::Stub(Errno::Nosys)).unwrap();
        let report =
            stub.report([(names::PREVIEW_1, "fd_read"), (names::PREVIEW_0, "path_open"), ("env", "memcpy")]);
        let grants: Vec<_> = report.iter().map(|capability| capability.grant).collect();
        assert_eq!(grants, [Some(Grant::Granted), Some(Grant::Stub(Errno::Nosys)), None]);
    }
}
