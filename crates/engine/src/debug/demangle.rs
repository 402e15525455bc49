//! Function names as in the source.
//!
//! For code that shows names to users. Invariant: a name is guest input, so the length of the result is
//! limited, however far a short name expands.

use std::fmt::{self, Write};

/// Longer results are cut.
const MAX: usize = 512;

/// The name without the mangling of Rust or C++. `None` if it is not mangled.
pub fn demangle(name: &str) -> Option<String> {
    let mut short = Short(String::new());
    // An error means that the limit was reached. The text so far then ends in dots.
    if let Ok(symbol) = rustc_demangle::try_demangle(name) {
        let _ = write!(short, "{symbol:#}");
    } else if name.starts_with("_Z") {
        let symbol = cpp_demangle::Symbol::new(name).ok()?;
        let options = cpp_demangle::DemangleOptions::new();
        let _ = symbol.structured_demangle(&mut short, &options);
    }
    (!short.0.is_empty()).then_some(short.0)
}

struct Short(String);

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() > MAX {
            return Err(fmt::Error);
        }
        if self.0.len() + text.len() <= MAX {
            self.0.push_str(text);
            return Ok(());
        }
        let end = text.floor_char_boundary(MAX - self.0.len());
        self.0.push_str(text.get(..end).unwrap_or_default());
        self.0.push('…');
        Err(fmt::Error)
    }
}
