//! The lexical gate in front of every path a guest names.
//!
//! Used by the path calls before cap-std sees anything. Pure: no system call,
//! no state, and the Windows rules are compiled and tested everywhere.
//! Invariant of a [`GuestPath`]: it is valid UTF-8 without NUL, not empty, not
//! absolute, never lexically above its directory (`ENOTCAPABLE`), and has no trailing slash.
//! Whether it had one is recorded, and the callers give it its meaning. So a trailing slash never
//! reaches the layers below, where such paths have escaped before (RUSTSEC-2026-0269).

use crate::errno::Errno;

/// Whose rules apply to names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    Posix,
    Windows,
}

impl Rules {
    pub const HOST: Rules = if cfg!(windows) { Rules::Windows } else { Rules::Posix };

    fn is_separator(self, c: char) -> bool {
        c == '/' || (self == Rules::Windows && c == '\\')
    }
}

/// A path that passed the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPath<'a> {
    text: &'a str,
    trailing_slash: bool,
}

impl<'a> GuestPath<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<GuestPath<'a>, Errno> {
        GuestPath::parse_with(bytes, Rules::HOST)
    }

    pub fn parse_with(bytes: &'a [u8], rules: Rules) -> Result<GuestPath<'a>, Errno> {
        let whole = text(bytes)?;
        if whole.is_empty() {
            return Err(Errno::Noent);
        }
        if is_absolute(whole, rules) {
            return Err(Errno::Notcapable);
        }
        let mut depth = 0usize;
        for component in whole.split(|c| rules.is_separator(c)) {
            match component {
                "" | "." => {}
                ".." => depth = depth.checked_sub(1).ok_or(Errno::Notcapable)?,
                name => {
                    if rules == Rules::Windows {
                        check_windows_name(name)?;
                    }
                    depth += 1;
                }
            }
        }
        let text = whole.trim_end_matches(|c| rules.is_separator(c));
        Ok(GuestPath { text, trailing_slash: text.len() != whole.len() })
    }

    /// The path without trailing slashes.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The guest wrote a slash at the end: it means a directory, and a link
    /// there is to be followed.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// What it leads to can only be a directory: it ends in a slash or a dot.
    pub fn wants_directory(&self) -> bool {
        self.trailing_slash || self.text.ends_with("/.") || self.text.ends_with("/..")
    }

    /// The path if it is one plain name, which names something in the
    /// directory itself whatever links there may be.
    pub fn as_single_name(&self) -> Option<&'a str> {
        let single =
            !self.text.contains(|c| Rules::HOST.is_separator(c)) && self.text != "." && self.text != "..";
        single.then_some(self.text)
    }
}

/// Checks what a symbolic link will contain. It may point upwards, because it is judged where it is
/// followed. It may not be absolute, because it could lead a program outside of the sandbox somewhere.
pub fn parse_link_contents(bytes: &[u8]) -> Result<&str, Errno> {
    let contents = text(bytes)?;
    if contents.is_empty() {
        return Err(Errno::Noent);
    }
    if is_absolute(contents, Rules::HOST) {
        return Err(Errno::Perm);
    }
    Ok(contents)
}

fn text(bytes: &[u8]) -> Result<&str, Errno> {
    if bytes.contains(&0) {
        return Err(Errno::Inval);
    }
    std::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)
}

/// Rooted, or (on Windows) relative to a drive, a share or a device.
fn is_absolute(path: &str, rules: Rules) -> bool {
    path.starts_with(|c| rules.is_separator(c))
        || (rules == Rules::Windows && path.as_bytes().get(1) == Some(&b':'))
}

/// Names that Windows takes for something else than a file of that name in
/// that directory: characters it reserves (a colon starts a stream), names it
/// strips of dots and spaces, and devices, which exist in every directory.
fn check_windows_name(name: &str) -> Result<(), Errno> {
    let reserved = |c: char| c < ' ' || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*');
    if name.contains(reserved) || name.ends_with(['.', ' ']) || is_windows_device(name) {
        return Err(Errno::Noent);
    }
    Ok(())
}

/// Whether Windows would open a device. The extension does not matter, nor do
/// spaces before it, and the digit may be a superscript.
fn is_windows_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    const PLAIN: [&str; 7] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"];
    if PLAIN.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((port, number)) = stem.split_at_checked(3) else {
        return false;
    };
    let mut digits = number.chars();
    (port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"))
        && matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³'))
        && digits.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posix(path: &str) -> Result<GuestPath<'_>, Errno> {
        GuestPath::parse_with(path.as_bytes(), Rules::Posix)
    }

    fn windows(path: &str) -> Result<GuestPath<'_>, Errno> {
        GuestPath::parse_with(path.as_bytes(), Rules::Windows)
    }

    #[test]
    fn each_kind_of_bad_text_has_its_errno() {
        assert_eq!(posix(""), Err(Errno::Noent));
        assert_eq!(posix("a\0b"), Err(Errno::Inval));
        assert_eq!(GuestPath::parse(b"a\xffb"), Err(Errno::Ilseq));
        assert_eq!(posix("/etc/passwd"), Err(Errno::Notcapable));
        assert_eq!(posix("/"), Err(Errno::Notcapable));
        assert_eq!(posix("//"), Err(Errno::Notcapable));
    }

    #[test]
    fn nothing_leads_above_the_directory() {
        for path in ["..", "../a", "a/../..", "a/b/../../../c", "./..", "a//../..", ".././a"] {
            assert_eq!(posix(path), Err(Errno::Notcapable), "{path}");
        }
        for path in ["a/..", "a/../b", "a/b/../..", "...", "..a", "a/./../b/.."] {
            assert!(posix(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn trailing_slashes_are_taken_off_and_remembered() {
        for (path, stripped, slash) in [
            ("a", "a", false),
            ("a/", "a", true),
            ("a///", "a", true),
            ("a/b/", "a/b", true),
            ("a/.", "a/.", false),
            ("./", ".", true),
        ] {
            let parsed = posix(path).unwrap();
            assert_eq!((parsed.as_str(), parsed.has_trailing_slash()), (stripped, slash));
        }
    }

    #[test]
    fn single_names() {
        assert_eq!(posix("a").unwrap().as_single_name(), Some("a"));
        assert_eq!(posix("a/").unwrap().as_single_name(), Some("a"));
        for path in [".", "a/b", "a/..", "./a"] {
            assert_eq!(posix(path).unwrap().as_single_name(), None, "{path}");
        }
    }

    #[test]
    fn backslashes_separate_only_on_windows() {
        assert_eq!(posix("a\\..\\..").unwrap().as_str(), "a\\..\\..");
        assert_eq!(windows("a\\..\\.."), Err(Errno::Notcapable));
        assert_eq!(windows("..\\a"), Err(Errno::Notcapable));
        assert!(windows("a\\").unwrap().has_trailing_slash());
    }

    #[test]
    fn windows_roots_are_absolute() {
        for path in [
            "\\a",
            "\\\\?\\C:\\a",
            "\\\\.\\pipe\\x",
            "\\\\server\\share",
            "C:\\a",
            "C:a",
            "c:",
            "/a",
            "//server/share",
        ] {
            assert_eq!(windows(path), Err(Errno::Notcapable), "{path}");
        }
    }

    #[test]
    fn windows_devices_and_streams_do_not_exist() {
        for path in [
            "CON",
            "con",
            "nul",
            "NUL.txt",
            "nul .txt",
            "a/AUX",
            "a/prn.tar.gz",
            "COM1",
            "com0",
            "COM¹",
            "lpt².log",
            "LPT³",
            "CONIN$",
            "conout$",
            "file::$DATA",
            "file:stream",
            "a/b:c/d",
            "name.",
            "name ",
            "a /b",
            "a./b",
            "what?",
            "a*b",
            "a\u{1}b",
            "..\u{20}",
            "...",
        ] {
            assert_eq!(windows(path), Err(Errno::Noent), "{path:?}");
        }
        for path in ["COM10", "COM", "console", "nulls", "COMx", "CO", "a.b", "ü", "LPT¹x", ".git"] {
            assert!(windows(path).is_ok(), "{path:?}");
        }
        assert!(posix("CON").is_ok());
    }

    #[test]
    fn link_contents_may_point_up_but_not_to_a_root() {
        assert_eq!(parse_link_contents(b"../a/"), Ok("../a/"));
        assert_eq!(parse_link_contents(b"/etc"), Err(Errno::Perm));
        assert_eq!(parse_link_contents(b""), Err(Errno::Noent));
        assert_eq!(parse_link_contents(b"a\0"), Err(Errno::Inval));
    }
}
