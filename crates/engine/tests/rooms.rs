//! The arrows between the rooms of the engine point downwards: a room uses only those that stand below it.
//!
//! Crates keep this between each other. Inside the engine this test does, over the paths in the source.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up, as src/lib.rs lists them.
const ROOMS: [&str; 16] = [
    "error",
    "types",
    "sys",
    "bytes",
    "pages",
    "table_pages",
    "progress",
    "pool",
    "parse",
    "abi",
    "compile",
    "debug",
    "code",
    "engine",
    "runtime::vm",
    "runtime::api",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the source is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The room that a path begins with.
fn room_of(path: &str) -> Option<usize> {
    ROOMS.iter().rposition(|room| {
        path.strip_prefix(room)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    })
}

/// The paths from the crate's root in a file, without those in `use` groups of other rooms' items.
fn paths_in(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
}

#[test]
fn a_room_uses_only_the_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = [false; ROOMS.len()];
    let mut upwards = Vec::new();
    for file in sources(&root) {
        let name = file.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
        let Some(own) = room_of(&name.trim_end_matches(".rs").replace('/', "::")) else {
            // What only gathers rooms: the crate, the runtime, and the runtime's tests.
            assert!(
                ["lib.rs", "runtime/mod.rs", "runtime/tests.rs"].contains(&&*name),
                "{name} is in no room"
            );
            continue;
        };
        seen[own] = true;
        let source = fs::read_to_string(&file).expect("it can be read");
        for path in paths_in(&source) {
            match room_of(path) {
                Some(used) if used <= own => {}
                _ => upwards.push(format!("{name}: crate::{}", path.trim())),
            }
        }
    }
    assert_eq!(seen, [true; ROOMS.len()], "each room is still there");
    assert_eq!(upwards, [""; 0]);
}
