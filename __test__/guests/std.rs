//! What a Rust program expects of its host, through std for wasm32-wasip1. Run in an empty
//! directory that it knows as /data. Panics at the first thing that is not as it should be.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, thread};

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("should have failed"),
        Err(error) => error.kind(),
    }
}

fn files(data: &Path) -> io::Result<()> {
    let path = data.join("file");
    fs::write(&path, "one\ntwo\n")?;
    assert_eq!(fs::read_to_string(&path)?, "one\ntwo\n");
    let mut appended = OpenOptions::new().append(true).open(&path)?;
    appended.write_vectored(&[IoSlice::new(b"thr"), IoSlice::new(b"ee\n")])?;
    let lines: Vec<String> = BufReader::new(File::open(&path)?).lines().collect::<Result<_, _>>()?;
    assert_eq!(lines, ["one", "two", "three"]);

    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    assert_eq!(file.seek(SeekFrom::End(-6))?, 8);
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    assert_eq!((rest.as_str(), file.stream_position()?), ("three\n", 14));
    assert_eq!(kind(file.seek(SeekFrom::Current(-100))), ErrorKind::InvalidInput);
    file.rewind()?;
    file.write_all(b"ONE")?;
    file.set_len(5)?;
    file.sync_all()?;
    assert_eq!(fs::read(&path)?, b"ONE\nt");
    assert_eq!(file.metadata()?.len(), 5);

    assert_eq!(kind(File::open(data.join("missing"))), ErrorKind::NotFound);
    assert_eq!(kind(File::create_new(&path)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs::read_dir(&path)), ErrorKind::NotADirectory);
    assert_eq!(kind(fs::write(data, "x")), ErrorKind::IsADirectory);
    assert_eq!(kind(File::open("/elsewhere")), ErrorKind::NotFound);
    const ENOTCAPABLE: i32 = 76; // std has no kind for it
    let outside = File::open(data.join("../../etc/passwd")).unwrap_err();
    assert_eq!(outside.raw_os_error(), Some(ENOTCAPABLE));
    assert!(path.exists() && !data.join("missing").try_exists()?);
    Ok(())
}

fn times(data: &Path) -> io::Result<()> {
    let path = data.join("times");
    let file = File::create(&path)?;
    let age = SystemTime::now().duration_since(file.metadata()?.modified()?).unwrap_or_default();
    assert!(age < Duration::from_secs(3600));
    let accessed = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let modified = UNIX_EPOCH + Duration::new(2_000_000_000, 987_654_321);
    file.set_times(FileTimes::new().set_accessed(accessed).set_modified(modified))?;
    let metadata = fs::metadata(&path)?;
    assert_eq!((metadata.accessed()?, metadata.modified()?), (accessed, modified));
    file.set_modified(UNIX_EPOCH)?;
    let metadata = fs::metadata(&path)?;
    assert_eq!((metadata.accessed()?, metadata.modified()?), (accessed, UNIX_EPOCH));
    fs::remove_file(path)
}

fn directories(data: &Path) -> io::Result<()> {
    let tree = data.join("tree");
    fs::create_dir_all(tree.join("a/b/c"))?;
    assert_eq!(kind(fs::create_dir(&tree)), ErrorKind::AlreadyExists);
    for index in 0..500 {
        fs::write(tree.join(format!("a/{index:03}")), index.to_string())?;
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(tree.join("a"))? {
        let entry = entry?;
        let (name, filetype) = (entry.file_name().into_string().unwrap(), entry.file_type()?);
        assert_eq!(filetype.is_dir(), name == "b");
        assert_eq!(entry.metadata()?.is_file(), name != "b");
        names.push(name);
    }
    names.sort();
    assert_eq!((names.len(), names[0].as_str(), names[500].as_str()), (501, "000", "b"));
    const ENOTEMPTY: i32 = 55; // std has no kind for it here
    let refused = fs::remove_dir(tree.join("a")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(ENOTEMPTY));
    assert_eq!(kind(fs::remove_dir(tree.join("a/000"))), ErrorKind::NotADirectory);
    assert_eq!(kind(fs::remove_file(tree.join("a"))), ErrorKind::IsADirectory);

    fs::rename(tree.join("a/000"), tree.join("a/001"))?;
    assert_eq!(fs::read_to_string(tree.join("a/001"))?, "0");
    assert_eq!(kind(fs::rename(tree.join("a/000"), tree.join("x"))), ErrorKind::NotFound);
    fs::rename(tree.join("a/b"), tree.join("b"))?;
    assert!(tree.join("b/c").is_dir());
    fs::hard_link(tree.join("a/001"), tree.join("linked"))?;
    fs::write(tree.join("linked"), "through the link")?;
    assert_eq!(fs::read_to_string(tree.join("a/001"))?, "through the link");
    assert_eq!(fs::copy(tree.join("linked"), tree.join("copied"))?, 16);
    fs::remove_dir_all(&tree)?;
    assert!(!tree.exists());
    Ok(())
}

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().collect();
    let variables: HashMap<String, String> = env::vars().collect();
    println!("arguments: {args:?}, environment: {variables:?}");
    let mut input = String::new();
    io::stdin().read_line(&mut input)?;
    println!("input: {input:?}");

    let data = Path::new("/data");
    files(data)?;
    times(data)?;
    directories(data)?;

    let start = Instant::now();
    thread::sleep(Duration::from_millis(2));
    assert!(start.elapsed() >= Duration::from_millis(2));
    assert!(SystemTime::now() > UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    // std's hash maps are keyed by random_get, and threads are refused, not crashed over.
    assert_eq!(kind(thread::Builder::new().spawn(|| {})), ErrorKind::Unsupported);
    eprintln!("to standard error");
    println!("all as it should be");
    std::process::exit(7)
}
