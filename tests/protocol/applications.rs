//! What the public applications do with a folder of messages: they list it into
//! a file in it, take that and each name in it with SDOWN, of which they keep
//! the last frame alone, and delete what they have.

use crate::common::{Client, Server};

/// The last frame of a file, which is all that the applications keep.
fn last_frame(client: &mut Client, path: &str) -> Vec<u8> {
    client.send(format!("SDOWN {path}"));
    let mut frame = Vec::new();
    loop {
        match client.wire.read_i32().expect("header") {
            0 => return frame,
            len => frame.resize(usize::try_from(len).expect("a length"), 0),
        }
        client.wire.read_raw(&mut frame).expect("payload");
    }
}

#[test]
fn applications_list_a_folder_into_itself_and_take_and_delete_its_files() {
    let server = Server::start();
    let long: Vec<u8> = (0..400_000u32).map(|i| (i >> 3) as u8).collect();
    server.write("in/long", &long);
    server.write("in/short", "hello");
    let mut client = server.connect();
    client.expect("LSV2 in@||@in/list", 0);
    let list = String::from_utf8(last_frame(&mut client, "in/list")).expect("text");
    let mut paths: Vec<&str> = list.lines().collect();
    paths.sort_unstable();
    assert_eq!(paths, ["in/list", "in/long", "in/short"]);
    assert!(last_frame(&mut client, paths[1]) == long);
    assert_eq!(last_frame(&mut client, paths[2]), b"hello");
    for path in paths {
        client.expect(format!("DEL {path}"), 0);
    }
    assert!(server.names("in").is_empty());
}

#[test]
fn a_list_of_a_tree_has_the_content_of_a_directory_right_behind_it() {
    let server = Server::start();
    for path in ["t/a/b/f", "t/a/c/f", "t/d/e/f", "t/d/f", "t/f"] {
        server.write(path, "");
    }
    let mut client = server.connect();
    client.expect("LSRV2 t@||@list", 0);
    let list = String::from_utf8(last_frame(&mut client, "list")).expect("text");
    let paths: Vec<&str> = list.lines().collect();
    assert_eq!(paths.len(), 10, "{list}");
    for (at, path) in paths.iter().enumerate().filter(|(_, p)| p.ends_with('/')) {
        let inside = paths.iter().filter(|p| p.starts_with(path)).count();
        let behind = &paths[at..at + inside];
        assert!(behind.iter().all(|p| p.starts_with(path)), "{path}: {list}");
    }
}
