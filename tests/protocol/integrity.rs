//! INTREAD and INTWRITE: a file with its hash, and a new content for a file that
//! has not changed.

use crate::common::{Client, Server, Setup};

/// The hash as the protocol has it.
fn hash(content: &[u8]) -> Vec<u8> {
    let digest = openssl::sha::sha256(content);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}").into_bytes()
}

#[track_caller]
fn intread(client: &mut Client, path: &str) -> Option<Vec<u8>> {
    client.send(format!("INTREAD {path}"));
    let len = usize::try_from(client.wire.read_i32().expect("length")).ok()?;
    let mut sent = vec![0; 66];
    client.wire.read_raw(&mut sent).expect("hash");
    let mut content = vec![0; len];
    client.wire.read_raw(&mut content).expect("content");
    assert_eq!(sent, hash(&content), "{path}");
    Some(content)
}

fn intwrite(client: &mut Client, path: &str, old: &[u8], content: &[u8]) -> i32 {
    client.send(format!("INTWRITE {path}"));
    let length = (content.len() as i32).to_be_bytes();
    let mut bytes = [old, &length, content].concat();
    let units = [66, 4, content.len()];
    client.wire.write_units(&mut bytes, &units).expect("send");
    client.wire.read_i32().expect("result")
}

#[test]
fn a_file_is_replaced_only_while_it_has_the_hash_the_client_knows() {
    let server = Server::start();
    server.write("f", "first");
    server.write("empty", "");
    server.mkdir("d");
    let mut client = server.connect();
    assert_eq!(intread(&mut client, "f").expect("file"), b"first");
    assert_eq!(intread(&mut client, "empty").expect("file"), b"");
    for path in ["", "d", "missing", "../f", "jail.key", "f/"] {
        assert_eq!(intread(&mut client, path), None, "{path}");
        let old = hash(b"");
        assert_eq!(intwrite(&mut client, path, &old, b"new"), -1, "{path}");
    }
    let (first, second) = (hash(b"first"), hash(b"second"));
    assert_eq!(intwrite(&mut client, "f", &first, b"second"), 0);
    assert_eq!(server.read("f"), b"second");
    assert_eq!(intwrite(&mut client, "f", &first, b"third"), -1);
    let upper = second.to_ascii_uppercase();
    assert_eq!(intwrite(&mut client, "f", &upper, b"third"), -1);
    assert_eq!(server.read("f"), b"second");
    assert_eq!(intwrite(&mut client, "f", &second, b""), 0);
    assert_eq!(server.read("f"), b"");
    client.send("INTWRITE f");
    let mut bytes = [hash(b""), (-5i32).to_be_bytes().to_vec()].concat();
    client.wire.write_units(&mut bytes, &[66, 4]).expect("send");
    assert_eq!(client.wire.read_i32().expect("result"), -1);
    client.expect_alive();
    assert_eq!(server.names(""), ["d", "empty", "f"]);
}

#[test]
fn what_is_above_the_limit_is_refused_and_the_session_goes_on() {
    let server = Server::with(Setup {
        tf: "integrity_limit = 1000".to_owned(),
        ..Setup::default()
    });
    server.write("small", [1; 1000]);
    server.write("big", [1; 1001]);
    let mut client = server.connect();
    assert_eq!(intread(&mut client, "small"), Some(vec![1; 1000]));
    assert_eq!(intread(&mut client, "big"), None);
    let (small, big) = (hash(&[1; 1000]), hash(&[1; 1001]));
    assert_eq!(intwrite(&mut client, "big", &big, b"x"), -1);
    assert_eq!(
        intwrite(&mut client, "small", &small, &vec![2; 900_000]),
        -1
    );
    assert_eq!(intwrite(&mut client, "small", &small, &[2; 1000]), 0);
    client.expect_alive();
    assert_eq!(
        (server.read("small"), server.read("big").len()),
        (vec![2; 1000], 1001)
    );
}

#[test]
fn a_write_counts_for_the_quota_and_leaves_the_old_file_when_it_is_too_much() {
    let server = Server::with(Setup {
        server: "quota = \"1000\"".to_owned(),
        ..Setup::default()
    });
    let mut client = server.connect();
    client.send_file("f", false, b"old");
    assert_eq!(intwrite(&mut client, "f", &hash(b"old"), &[1; 1001]), -1);
    assert_eq!(
        (server.read("f"), client.ask("FREESP")),
        (b"old".to_vec(), "OK 997".to_owned())
    );
    assert_eq!(intwrite(&mut client, "f", &hash(b"old"), &[1; 500]), 0);
    assert_eq!(client.ask("FREESP"), "OK 500");
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn of_clients_that_count_in_one_file_none_loses_a_step() {
    let server = Server::start();
    server.write("count", "0");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.connect();
                let mut done = 0;
                while done < 25 {
                    let old = intread(&mut client, "count").expect("file");
                    let text = String::from_utf8(old.clone()).expect("text");
                    let next = (text.parse::<u32>().expect("number") + 1).to_string();
                    let written = intwrite(&mut client, "count", &hash(&old), next.as_bytes());
                    done += u32::from(written == 0);
                }
            });
        }
    });
    assert_eq!(server.read("count"), b"100");
}

#[test]
fn who_reads_sees_the_old_file_or_the_whole_new_one() {
    let server = Server::start();
    let contents = [vec![b'a'; 900_000], vec![b'b'; 700_000]];
    server.write("f", &contents[0]);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            for round in 0..20 {
                let (old, new) = (&contents[round % 2], &contents[(round + 1) % 2]);
                assert_eq!(intwrite(&mut client, "f", &hash(old), new), 0);
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut client = server.connect();
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            assert!(contents.contains(&server.read("f")));
            assert!(contents.contains(&intread(&mut client, "f").expect("file")));
        }
    });
}
