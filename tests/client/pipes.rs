//! Output that nobody takes: transfers go on, and what can't be written is
//! told.

use std::fs::File;
use std::process::Stdio;

use crate::desk::{Desk, Run, tree};

#[test]
fn a_mirror_goes_on_when_its_reader_has_seen_enough() {
    let desk = Desk::new();
    for number in 0..300 {
        desk.write(&format!("t/{number}"), "x");
    }
    let mut command = desk.command(&["mirror", "t", ":t"]);
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let run: Run = command.stdout(writer).output().expect("tf").into();
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
}

#[test]
fn a_mirror_goes_on_when_its_output_is_full_and_says_so() {
    let desk = Desk::new();
    desk.write("t/a", "x");
    desk.write("t/b", "x");
    let full = || File::options().write(true).open("/dev/full").expect("open");
    for json in [&[][..], &["--json"]] {
        let arguments = [json, &["mirror", "-c", "t", ":t"]].concat();
        let run: Run = desk
            .command(&arguments)
            .stdout(full())
            .output()
            .expect("tf")
            .into();
        assert_eq!(run.code, Some(7), "{}", run.err);
        assert!(
            run.err.contains("standard output: No space left"),
            "{}",
            run.err
        );
        assert!(tree(&desk.server.path("t")) == tree(&desk.path("t")));
        desk.fine(&["rm", "-r", "t"]);
    }
    // Nor does a log that can take no complaint end it.
    desk.write("t/c", "x");
    std::os::unix::fs::symlink("a", desk.path("t/link")).expect("link");
    let mut command = desk.command(&["put", "-r", "missing", "t"]);
    let status = command
        .stdout(Stdio::null())
        .stderr(full())
        .status()
        .expect("tf");
    assert_eq!(status.code(), Some(7));
}
