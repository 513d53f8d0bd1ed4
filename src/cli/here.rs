//! The shell's place: the server and the directory where plain remote paths
//! begin. Without a shell that is the root of the default server.

use std::cell::RefCell;

use super::place::{Remote, ServerName};

thread_local! {
    /// Arguments are read by functions that get nothing but their text.
    static HERE: RefCell<Option<Remote>> = const { RefCell::new(None) };
}

/// Has plain remote paths begin at this directory.
pub(super) fn go(to: Remote) {
    HERE.with_borrow_mut(|here| *here = Some(to));
}

/// The shell's server, for the default one; another as it is.
pub(super) fn server(server: &ServerName) -> ServerName {
    match server {
        ServerName::Default => find("").0,
        other => other.clone(),
    }
}

/// The server and the path that a path without a server stands for.
pub(super) fn find(path: &str) -> (ServerName, String) {
    HERE.with_borrow(|here| match here {
        None => (
            ServerName::Default,
            path.strip_prefix("./").unwrap_or(path).to_owned(),
        ),
        Some(here) => (here.server.clone(), join(&here.path, path)),
    })
}

/// A path from a directory on; one that begins with `/` from the root on. It
/// never leads above the root. A `/` at its end stays.
fn join(directory: &str, path: &str) -> String {
    let from = if path.starts_with('/') { "" } else { directory };
    let mut names: Vec<&str> = Vec::new();
    for name in from.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut joined = names.join("/");
    if path.ends_with('/') && !joined.is_empty() {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_directory_and_never_leave_the_root() {
        for (directory, path, joined) in [
            ("a/b", "", "a/b"),
            ("a/b", "c", "a/b/c"),
            ("a/b", "./c//d/", "a/b/c/d/"),
            ("a/b", "..", "a"),
            ("a/b", "../../../x", "x"),
            ("a/b", "/", ""),
            ("a/b", "/x/./y", "x/y"),
            ("", "..", ""),
            ("", "../", ""),
            ("a", "...", "a/..."),
        ] {
            assert_eq!(join(directory, path), joined, "{directory} {path}");
        }
    }
}
