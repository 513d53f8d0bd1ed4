//! What is printed, byte for byte.

use std::fs;

use tfd::bbftp::wire::Code;

use super::{Caller, without_times};
use crate::fake::{Peer, receive, send, serve_version};

/// Answers each command as the public server does.
fn answer(peer: &mut Peer) {
    loop {
        let (code, payload) = peer.hear();
        let path = String::from_utf8_lossy(payload.get(4..).unwrap_or_default()).into_owned();
        let text = match Code::try_from(code) {
            Ok(Code::ChDirV2) => format!("/home/{path}"),
            Ok(Code::MkDirV2) => format!("Directory {path} created"),
            Ok(Code::Rm) if path == "gone" => {
                peer.say(Code::BadNoRetry, b"Unable to delete gone");
                continue;
            }
            Ok(Code::Rm) => format!("{path} has been deleted"),
            Ok(Code::Stat) => "7 00100644 1000 4096 8  1 1 (a) (m) (c)".to_owned(),
            Ok(Code::Df) => "6171023 6167354 4096 3085511 3082739 255".to_owned(),
            Ok(Code::ChUmask) => "umask changed from 0022 to 0077".to_owned(),
            Ok(Code::ChCos) => "COS not set".to_owned(),
            Ok(Code::ListV2) if path == "e/*" => {
                peer.say(Code::ListReplV2, b"");
                continue;
            }
            Ok(Code::ListV2) => {
                peer.say(Code::ListReplV2, b"d/.\0 d\0d/f\0 f\0d/l\0lu\0");
                continue;
            }
            Ok(Code::CloseConn) => return,
            other => panic!("{other:?}"),
        };
        peer.say(Code::Ok, text.as_bytes());
    }
}

const COMMANDS: &str = "cd a ; mkdir b;dir d ;dir e;stat f;df .; rm f;rm gone;setremoteumask 077;\
                        setremotecos 3;setnbstream 2;setoption nokeepmode;# x;";

/// Runs these commands; the output and the complaints.
fn said(options: &[&str]) -> (String, String) {
    let (target, server) = serve_version(3, "server 1 : OK", answer);
    let caller = Caller::new();
    let run = caller.run_at(&target, &[options, &["-e", COMMANDS]].concat());
    server.join().expect("server");
    assert_eq!(run.code, Some(100));
    (run.out, run.err)
}

#[test]
fn results_alone_are_printed_by_default() {
    let (out, err) = said(&[]);
    let expected = "cd a  OK\n mkdir b OK\ndir d  OK\ndir e OK\nstat f OK\ndf . OK\n rm f OK\n\
                    rm gone FAILED\nsetremoteumask 077 OK\nsetremotecos 3 OK\nsetnbstream 2 OK\n\
                    setoption nokeepmode OK\n# x OK\n OK\n";
    assert_eq!(out, expected);
    assert_eq!(err, "BBFTP-ERROR-00100 : Unable to delete gone\n");
}

#[test]
fn a_verbose_run_shows_commands_and_answers() {
    let (out, err) = said(&["-V"]);
    let expected = "\
>> USER ann PASS
<< server 1 : OK
>> COMMAND : cd a
<< OK : Current remote directory is /home/a
cd a  OK
>> COMMAND : mkdir b
<< OK : Directory b created
 mkdir b OK
>> COMMAND : dir d 
>> COMMAND : list d/*
<< OK
<< OK
dir d  OK
>> COMMAND : dir e 
>> COMMAND : list e/*
<< OK : no file
<< OK
dir e OK
>> COMMAND : stat f
<< OK : 7 00100644 1000 4096 8  1 1 (a) (m) (c)
stat f OK
>> COMMAND : df .
<< OK : 6171023 6167354 4096 3085511 3082739 255
df . OK
>> COMMAND : rm f
<< OK : f has been deleted
 rm f OK
>> COMMAND : rm gone
<< Unable to delete gone
rm gone FAILED
>> COMMAND : setremoteumask 77
<< OK : umask changed from 0022 to 0077
setremoteumask 077 OK
>> COMMAND : setremotecos 3
<< OK : COS not set
setremotecos 3 OK
>> COMMAND : setnbstream 2
<< OK
setnbstream 2 OK
>> COMMAND : setoption nokeepmode
<< OK
setoption nokeepmode OK
# x OK
 OK
";
    assert_eq!(out, expected);
    assert_eq!(err, "BBFTP-ERROR-00100 : Unable to delete gone\n");
}

#[test]
fn statistics_are_lines_for_programs_and_leave_no_room_for_others() {
    let (out, err) = said(&["-m", "-V", "-t", "-W", "-d"]);
    let expected = "\
cd a  OK
 mkdir b OK
dir d
 d d/.
 f d/f
lu d/l
dir d  OK
dir e
dir e OK
stat 7 00100644 1000 4096 8  1 1 (a) (m) (c)
stat f OK
df 6171023 6167354 4096 3085511 3082739 255
df . OK
 rm f OK
rm gone FAILED
setremoteumask 077 OK
setremotecos 3 OK
setnbstream 2 OK
setoption nokeepmode OK
# x OK
 OK
";
    assert_eq!(out, expected);
    assert_eq!(err, "BBFTP-ERROR-00100 : Unable to delete gone\n");
}

#[test]
fn a_time_stands_before_all_lines_but_results() {
    let (out, err) = said(&["-t", "-V", "-W"]);
    let is_stamped = |line: &str| {
        let head: Vec<&str> = line.splitn(6, ' ').collect();
        head.len() == 6 && head[3].matches(':').count() == 2 && head[4] == "(UTC)"
    };
    for line in out.lines() {
        let is_result = line.ends_with(" OK") && !line.contains(">> ") && !line.contains("<< ")
            || line.ends_with(" FAILED");
        assert_eq!(is_stamped(line), !is_result, "{line}");
    }
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines.iter().all(|line| is_stamped(line)), "{err}");
    let trying = lines[0].ends_with(" : BBFTP-WARNING-00028 : connect to address 127.0.0.1");
    assert!(trying, "{err}");
}

/// One file there and back, and an empty one.
fn there_and_back(options: &[&str]) -> (String, String) {
    let (target, server) = serve_version(3, "x", |peer| {
        let (request, name) = peer.request(Code::StoreV2);
        assert_eq!(name, b"there/f");
        let streams = peer.streams(3, &request);
        let content = receive(streams, 5000);
        peer.say(Code::Ok, b"OK");
        let (request, name) = peer.request(Code::RetrV2);
        assert_eq!(name, b"d/g");
        let mut request = request;
        (request.size, request.mode) = (5000, 0o640);
        let streams = peer.streams(3, &request);
        send(streams, &content);
        peer.say(Code::Ok, b"OK");
        let (_, name) = peer.request(Code::StoreV2);
        assert_eq!(name, b"empty");
        peer.say(Code::Ok, b"");
        peer.expect(Code::CloseConn);
    });
    let caller = Caller::new();
    let content: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    caller.write("f", &content);
    caller.write("empty", "");
    let commands = "setbuffersize 1;put f there/;get d/g;put empty";
    let run = caller.run_at(&target, &[options, &["-p", "2", "-e", commands]].concat());
    server.join().expect("server");
    assert_eq!((run.code, &*run.err), (Some(0), ""), "{}", run.out);
    assert_eq!(fs::read(caller.path("g")).expect("read"), content);
    (run.out, caller.0.path().display().to_string())
}

#[test]
fn a_transfer_shows_names_and_speed() {
    let (out, _) = there_and_back(&["-V"]);
    let expected = "\
>> USER ann PASS
<< x
>> COMMAND : setbuffersize 1
<< OK
setbuffersize 1 OK
>> COMMAND : put f there/f
<< OK
5000 bytes send in N secs (N Kbytes/sec or N Mbits/s)
put f there/ OK
>> COMMAND : get d/g ./g
<< OK
5000 bytes got in N secs (N Kbytes/sec or N Mbits/s)
get d/g OK
>> COMMAND : put empty empty
<< OK
put empty OK
";
    assert_eq!(without_times(&out), expected);
}

#[test]
fn statistics_of_a_transfer_are_one_line() {
    let (out, _) = there_and_back(&["-m"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 6, "{out}");
    for (line, word) in [(lines[1], "put"), (lines[3], "get")] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], [word, "5000"], "{out}");
        let (_, decimals) = words[2].split_once('.').expect("seconds");
        assert_eq!(decimals.len(), 3, "{out}");
        assert_eq!(words[3..], ["1", "256", "256", "2", "nogzip"], "{out}");
    }
}

#[test]
fn what_is_wrong_with_files_here_is_said_as_by_the_public_client() {
    let (target, server) = serve_version(3, "x", |peer| {
        for _ in 0..2 {
            let (mut request, _) = peer.request(Code::RetrV2);
            (request.size, request.streams) = (1, 1);
            drop(peer.consent(&request));
            peer.expect(Code::Abort);
        }
        peer.say(Code::BadNoRetry, b"Error with a blank at its end ");
        peer.expect(Code::Rm);
        peer.expect(Code::CloseConn);
    });
    let caller = Caller::new();
    fs::create_dir(caller.path("d")).expect("mkdir");
    let commands = "put no;put d;get f d;get f pw/x;mput none/*;mget f none;rm x";
    let run = caller.run_at(&target, &["-e", commands]);
    server.join().expect("server");
    let expected = "\
BBFTP-ERROR-00072 : Error stating file no : No such file or directory 
BBFTP-ERROR-00073 : File d is a directory
BBFTP-ERROR-00073 : File d is a directory
BBFTP-ERROR-00076 : File pw/x is below something that is no directory
BBFTP-ERROR-00086 : opendir none failed : No such file or directory 
BBFTP-ERROR-00072 : Error stating file none : No such file or directory
BBFTP-ERROR-00100 : Error with a blank at its end 
";
    assert_eq!(run.err, expected, "{}", run.out);
}
