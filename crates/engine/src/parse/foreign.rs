//! Describes bytes that are not a module, for the error message.
//!
//! Called by `parse/mod.rs`. Only the first bytes are inspected.

/// If the bytes do not begin like a module: what they are and what to do.
pub fn explain(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"\0asm") {
        return explain_version(bytes);
    }
    if bytes.is_empty() {
        return Some(
            "there are no bytes: the module is empty, as a file is that was not written to its end".into(),
        );
    }
    const FORMATS: [(&[u8], &str); 8] = [
        (
            b"wn-code\0",
            "it is a module compiled ahead of time: run it with --allow-precompiled, or give its bytes to \
             Module.deserialize(), if whoever made it may run any code here",
        ),
        (b"\x1f\x8b", "it is compressed with gzip: decompress it first, for example with zlib.gunzipSync()"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: decompress it first"),
        (b"PK\x03\x04", "it is a zip archive: take the .wasm file out of it"),
        (b"\x7fELF", "it is a native program or library (ELF): compile for wasm32-wasip1"),
        (b"BC\xc0\xde", "it is LLVM bitcode: link it to a .wasm file"),
        (b"!<arch>\n", "it is an archive of object files: link it to a .wasm file"),
        (b"version https://git-lfs", "it is a pointer of Git LFS: fetch the file itself with git lfs pull"),
    ];
    let known =
        FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, text)| (*text).to_string());
    Some(known.or_else(|| explain_text(bytes)).unwrap_or_else(|| {
        let found = &bytes[..bytes.len().min(4)];
        let hex: Vec<String> = found.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("magic header not detected: a module begins with 00 61 73 6d, this with {}", hex.join(" "))
    }))
}

/// Explains the four bytes after the magic number: a version, and the layer that distinguishes components
/// from modules.
fn explain_version(bytes: &[u8]) -> Option<String> {
    match bytes.get(4..8)? {
        [1, 0, 0, 0] => None,
        [_, _, 1, 0] => Some(
            "it is a component (WASI 0.2 and later), and components are not supported yet: build a module for \
             wasm32-wasip1, or take the component apart with `jco transpile`"
                .into(),
        ),
        _ => None,
    }
}

fn explain_text(bytes: &[u8]) -> Option<String> {
    const LOOKED_AT: usize = 512;
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.is_empty() || !text.chars().all(is_text) {
        return None;
    }
    if ["(module", "(component", ";;", "(;"].iter().any(|begin| text.starts_with(begin)) {
        let how = "translate it to a binary first, for example with wat2wasm or `wasm-tools parse`";
        return Some(format!("it is WebAssembly text (.wat): {how}"));
    }
    if text.starts_with('<') {
        return Some("it is HTML or XML, as a server sends with an error: look at what was fetched".into());
    }
    let begin: String = text.chars().take(20).collect();
    Some(format!("it is text, which begins with {begin:?}: give the bytes of a .wasm file"))
}
