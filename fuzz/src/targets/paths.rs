//! Paths as clients send them: none that is allowed leads up or to a name of
//! the server's own.

use tfd::store::RootPath;
use tfd::tf::env::POLICY;

/// Takes one input.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |c| *c == b'\n');
    let mut next = || RootPath::parse(parts.next().unwrap_or_default(), &POLICY);
    let (Ok(path), other) = (next(), next()) else {
        return;
    };
    check(&path);
    assert!(contains(&path, &path) && contains(&RootPath::root(), &path));
    if let Some(name) = path.name() {
        assert_eq!(path.parent().join(name).as_bytes(), path.as_bytes());
        assert!(contains(&path.parent(), &path) && !contains(&path, &path.parent()));
        assert!(path.ends_with(&path) && path.ends_with(&RootPath::root().join(name)));
    }
    let Ok(other) = other else { return };
    let joined = path.joined(&other);
    assert!(contains(&path, &joined));
    assert!(other.is_root() || joined.ends_with(&other));
    assert!(joined.names().eq(path.names().chain(other.names())));
}

/// Whether the other path is this one or lies below it.
fn contains(path: &RootPath, other: &RootPath) -> bool {
    let count = path.names().count();
    other.names().take(count).eq(path.names())
}

fn check(path: &RootPath) {
    for name in path.names() {
        assert!(name != b".." && name != b"." && !POLICY.hides(name));
        assert!(!name.iter().any(|c| matches!(c, b'/' | 0)));
    }
    assert!(!path.as_bytes().starts_with(b"/") && !path.as_os_str().is_empty());
    let again = RootPath::parse(path.as_bytes(), &POLICY).expect("allowed once, allowed again");
    assert_eq!(again.as_bytes(), path.as_bytes());
}
