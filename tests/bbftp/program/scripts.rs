//! Commands from files, names with blanks, TURLs, settings, the password.

use std::fs;
use std::process::Command;

use tfd::bbftp::wire::Code;

use super::Caller;
use crate::common::tf::run;
use crate::fake::{Peer, serve_version};

/// Deletes whatever it is asked to: the names.
fn delete(peer: &mut Peer, names: &[&[u8]]) {
    for name in names {
        assert_eq!(peer.expect(Code::Rm)[4..], **name);
        peer.say(Code::Ok, b"deleted");
    }
    peer.expect(Code::CloseConn);
}

#[test]
fn results_of_a_file_of_commands_go_to_a_file_beside() {
    let (target, server) = serve_version(3, "x", |peer| {
        delete(peer, &[b"a", b"b c"]);
    });
    let caller = Caller::new();
    caller.write("cmds", "rm a\n# c\n\n rm  \"b c\" \nbogus\n");
    let ran = caller.run_at(&target, &["-i", "cmds"]);
    server.join().expect("server");
    assert_eq!((ran.code, &*ran.out), (Some(0), ""));
    let expected = "rm a OK\n# c OK\n OK\n rm  \"b c\"  OK\nbogus FAILED\n OK\n";
    assert_eq!(caller.read("cmds.res"), expected);
}

#[test]
fn quoted_names_have_blanks_and_unquoted_ones_are_what_they_were() {
    let (target, server) = serve_version(3, "x", |peer| {
        delete(peer, &[b"a b;c", b"it's", b"\"d", b"e\"f"]);
    });
    let caller = Caller::new();
    let commands = "rm 'a b;c';rm it's;rm \"d;rm e\"f";
    let ran = caller.run_at(&target, &["-e", commands]);
    server.join().expect("server");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        ran.out,
        "rm 'a b;c' OK\nrm it's OK\nrm \"d OK\nrm e\"f OK\n"
    );
}

#[test]
fn turls_name_the_server() {
    let (target, server) = serve_version(3, "x", |peer| {
        delete(peer, &[b"/tmp/a", b"b"]);
    });
    let caller = Caller::new();
    let server_name = format!("127.0.0.1:{}", target.port);
    let commands = format!("rm bbftp://{server_name}//tmp/a;rm bbftp://{server_name}/b");
    let arguments = ["-u", "ann", "--password-file", "pw", "-e", &commands];
    let ran = caller.run(&arguments);
    server.join().expect("server");
    assert_eq!(ran.out, "rm /tmp/a OK\nrm b OK\n", "{}", ran.err);
}

#[test]
fn settings_come_from_options_then_rc_files_then_commands() {
    let (target, server) = serve_version(3, "x", |peer| {
        for (streams, buffer, options) in [(3, 1, 0x1b), (2, 1, 0x0a)] {
            let (request, _) = peer.request(Code::StoreV2);
            assert_eq!(request.streams, streams);
            assert_eq!(request.buffer, buffer);
            assert_eq!(request.options.bits(), options);
            assert_eq!((request.send_window, request.receive_window), (512, 256));
            peer.say(Code::BadNoRetry, b"no");
        }
        peer.expect(Code::CloseConn);
    });
    let caller = Caller::new();
    caller.write(
        ".bbftprc",
        "setnbstream 3\nsetbuffersize 1\nsetoption nokeepmode\n\
                              setsendwinsize 512\nbogus\n",
    );
    caller.write("f", [0; 5000]);
    let commands = "put f;setnbstream 2;setoption nogzip;setoption notmpfile;put f";
    let ran = caller.run_at(&target, &["-p", "5", "-c", "-W", "-e", commands]);
    server.join().expect("server");
    assert_eq!(ran.code, Some(100));
    let warning = "BBFTP-WARNING-00013 : Skipping Unknown command in .bbftprc file (bogus)\n";
    assert!(ran.err.starts_with(warning), "{}", ran.err);
}

#[test]
fn umasks_and_directories_here_are_those_of_the_commands() {
    let (target, server) = serve_version(3, "x", |peer| {
        let (request, _) = peer.request(Code::RetrV2);
        peer.say(Code::TransOkV3, &request.encode());
        peer.expect(Code::CreateZero);
        peer.expect(Code::CloseConn);
    });
    let caller = Caller::new();
    fs::create_dir(caller.path("d")).expect("mkdir");
    let commands = "lcd none;lcd d;setlocalumask 077;setoption nokeepmode;get f";
    let ran = caller.run_at(&target, &["-e", commands]);
    server.join().expect("server");
    let text = "Error changing directory none (No such file or directory)";
    assert_eq!(ran.err, format!("BBFTP-ERROR-00071 : {text}\n"));
    assert_eq!(ran.code, Some(71));
    let found = fs::metadata(caller.path("d/f")).expect("file");
    let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_a_terminal_the_password_is_a_line_of_standard_input() {
    let (target, server) = serve_version(3, "x", |peer| delete(peer, &[b"a"]));
    let caller = Caller::new();
    let port = target.port.to_string();
    let mut command = Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_bbftp"), "-R", "none", "-u", "ann"]);
    command.args(["-w", &port, "-e", "rm a", "127.0.0.1"]);
    let ran = run(command.current_dir(caller.0.path()), b"pass\nmore\n");
    server.join().expect("server");
    assert_eq!(ran.out, "Password: rm a OK\n", "{}", ran.err);
}

#[test]
fn a_program_in_the_background_goes_on_alone() {
    let (target, server) = serve_version(3, "x", |peer| delete(peer, &[b"a"]));
    let caller = Caller::new();
    let ran = caller.run_at(&target, &["-b", "-V", "-o", "out", "-e", "rm a"]);
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), "", ""));
    server.join().expect("server");
    crate::common::wait_until("the result", || caller.read("out").contains("rm a OK\n"));
    assert!(caller.read("out").starts_with("Starting under pid "));
}
