//! The numbered weaknesses of the public C server, each attacked as it was
//! there, up to number 11.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tfd::tf::wire::MAX_MESSAGE;

use crate::common::{
    Client, PATIENCE, Server, Setup, VERSION, account, connections, descendants, reply_for,
    wait_until,
};
use crate::{Scene, connect_with_pid, memory_of, tfd, without_root};

const MULTI_USER: &str = "mode = \"multi-user\"\nusers = \"users\"\nlogin_failures = 100";

fn multi_user(users: String) -> Setup {
    Setup {
        server: MULTI_USER.to_owned(),
        users,
        ..Setup::default()
    }
}

/// Announces a length and sends bytes behind it for as long as they are taken.
fn overflow(client: &mut Client, announced: i32) {
    client.wire.write_i32(announced).expect("send");
    let mut socket = client.wire.socket();
    for _ in 0..48 {
        if socket.write_all(&[b'A'; 65_536]).is_err() {
            break;
        }
    }
}

#[test]
fn weakness_01_a_message_longer_than_the_buffer_closes_that_connection_only() {
    let mut scene = Scene::new();
    for announced in [MAX_MESSAGE as i32 + 1, 3_000_000, i32::MAX, -1, i32::MIN] {
        let mut first = Client::knock(scene.server.address());
        overflow(&mut first, announced);
        first.expect_closed();
        let mut block = Client::knock(scene.server.address());
        assert_eq!(block.ask(VERSION), "OK");
        overflow(&mut block, announced);
        block.expect_closed();
        let mut hash = Client::knock(scene.server.address());
        assert_eq!(hash.ask(VERSION), "OK");
        hash.send_key(&[9; 32]);
        assert_eq!(hash.reply(), "OK");
        hash.wire.encipher(&[9; 32]);
        overflow(&mut hash, announced);
        hash.expect_closed();
        let mut inside = scene.connect();
        overflow(&mut inside, announced);
        inside.expect_closed();
        scene.unharmed();
    }
}

#[test]
fn weakness_01_a_key_block_longer_than_the_key_is_refused() {
    let mut scene = Scene::new();
    for length in [257, 4096, MAX_MESSAGE] {
        let mut client = Client::knock(scene.server.address());
        assert_eq!(client.ask(VERSION), "OK");
        assert_eq!(client.ask(vec![1; length]), reply_for(25));
        client.expect_closed();
    }
    scene.unharmed();
}

#[test]
fn weakness_02_arguments_longer_than_any_path_are_refused() {
    let mut scene = Scene::new();
    scene.server.write("f", "inside");
    scene.server.mkdir("d");
    let mut client = scene.connect();
    for length in [4098, 5000, 150_000] {
        let long = "a/".repeat(length / 2);
        let word = "7".repeat(length);
        for (request, code) in [
            (format!("MKDIR {long}"), 1),
            (format!("COPY {long} | g"), 1),
            (format!("COPY f | {long}"), 1),
            (format!("CPDIR {long} | g"), 1),
            (format!("CPDIR d | {long}"), 1),
            (format!("XCOPY {word} f | d"), 1),
            (format!("XCOPY g {long} | d"), 1),
            (format!("XCOPY g f | {long}"), 1),
            (format!("XCPDIR {word} d | d"), 1),
            (format!("XCPDIR g d | {long}"), 1),
            (format!("XDEL {long} f"), 1),
            (format!("XRMDIR d {long}"), 1),
            (format!("RENAM {long} | g"), 1),
            (format!("RENAM f | {long}"), 1),
            (format!("SHA256 {long}"), 1),
            (format!("RMSECDIR t | {long}"), 1),
            (format!("RMSECDIR {word} | d"), 47),
            (format!("INJAIL t | {long}"), 51),
            (format!("LOGIN {word} {word}"), 39),
            (format!("CHMOD f {word}"), 41),
            (format!("CHMOD {long} 600"), 1),
            (format!("CHOWN f {word} {word}"), 42),
            (format!("CHOWN f nobody {word}"), 43),
            (format!("KEEPALIVE 1 {word} | {word} | {word}"), 32),
            (format!("KEEPALIVE {word} -{word} | 1 | 1"), 32),
            (format!("LOCK {long}"), 28),
        ] {
            let reply = client.ask(&request);
            assert_eq!(reply, reply_for(code), "{request:.20}");
        }
    }
    client.expect(format!("LOCK {}", "l".repeat(500_000)), 0);
    client.expect("TOUCH g", 0);
    assert_eq!(scene.server.names(""), ["d", "f", "g"]);
    scene.unharmed();
}

#[test]
fn weakness_02_names_and_tokens_too_long_open_no_door() {
    if without_root() {
        return;
    }
    let server = format!("{MULTI_USER}\njail = true");
    let users = account("ann", "pass", "games:::");
    let mut scene = Scene::with(Setup {
        server,
        users,
        ..Setup::default()
    });
    let mut client = scene.connect();
    let long = "n".repeat(400_000);
    client.expect(format!("LOGIN {long} pass"), 37);
    client.expect(format!("LOGIN ann {long}"), 37);
    client.expect("LOGIN ann pass", 0);
    client.expect(format!("INJAIL t | {}", "a/".repeat(3000)), 1);
    client.expect(format!("INJAIL {long} | /"), 49);
    client.expect("ECHO x", 50);
    scene.unharmed();
}

#[test]
fn weakness_03_a_frame_longer_than_agreed_is_not_written() {
    let mut scene = Scene::new();
    for length in [101, 4096, 9_000_000] {
        let mut client = scene.connect();
        assert_eq!(client.hp_open("PUT", "put", &[0, 100]), 100);
        client.send_frame(&vec![b'A'; length]);
        assert_eq!(client.wire.read_i64().expect("cancelled"), -2);
        assert_eq!(client.wire.read_i64().expect("fin"), -127);
        client.wire.write_i64(-127).expect("fin");
        client.expect_alive();
        assert!(!scene.server.exists("put"));

        assert_eq!(client.hp_open("PUTCAN", "putcan", &[0, 100, 1]), 100);
        client.send_frame(&vec![b'A'; length]);
        assert_eq!(client.wire.read_i64().expect("cancelled"), -2);
        client.expect_alive();
        assert!(!scene.server.exists("putcan"));
    }
    for length in [MAX_MESSAGE as i32 + 1, i32::MAX] {
        let mut client = scene.connect();
        client.send("SUP sup");
        overflow(&mut client, length);
        client.expect_closed();
        wait_until("nothing of SUP", || scene.server.names("").is_empty());
    }
    scene.unharmed();
}

#[test]
fn weakness_03_a_request_too_short_for_its_numbers_is_refused() {
    let mut scene = Scene::new();
    let mut client = scene.connect();
    for word in ["PUT", "GET", "PUTCAN", "GETCAN"] {
        for cut in 0..=16 {
            client.expect([word.as_bytes(), b" ", &vec![0; cut]].concat(), 16);
        }
        client.expect(word, 16);
    }
    assert!(scene.server.names("").is_empty());
    scene.unharmed();
}

#[test]
fn weakness_04_no_spelling_of_the_parent_leads_out_of_the_root() {
    let mut scene = Scene::new();
    scene.server.write("d/f", "inside");
    let mut client = scene.connect();
    let ways = [
        "..",
        "../",
        "/..",
        "./..",
        "d/..",
        "d/../..",
        "..//",
        "d/./../../",
        "../outside",
    ];
    for way in ways {
        for request in [
            format!("LS {way}"),
            format!("LSR {way}"),
            format!("FSTAT {way}"),
            format!("FUPD {way}"),
            format!("CHMOD {way} 700"),
            format!("CHOWN {way} nobody nogroup"),
            format!("CPDIR {way} | stolen"),
            format!("CPDIR d | {way}/d"),
            format!("COPY {way}/f | stolen"),
            format!("COPY d/f | {way}"),
            format!("RENAM {way} | stolen"),
            format!("RENAM d | {way}"),
            format!("RMDIR {way}"),
            format!("MKDIR {way}/made"),
            format!("TOUCH {way}/made"),
            format!("DEL {way}/f"),
            format!("SHA256 {way}/f"),
            format!("RCVFILE 0 {way}/f"),
            format!("RCVFILE 1 {way}/f"),
            format!("SNDFILE 1 {way}/f"),
            format!("XDEL {way} f"),
            format!("XRMDIR {way} t"),
            format!("XCOPY n {way}/f | d"),
            format!("XCPDIR n {way} | d"),
            format!("RMSECDIR f | {way}"),
        ] {
            client.expect(request, 1);
        }
        for word in ["PUT", "GET"] {
            client.expect(Client::hp(word, &format!("{way}/f"), &[0, 10]), 1);
        }
        client.send(format!("FSIZE {way}/f"));
        assert_eq!(client.wire.read_i64().expect("size"), -1);
        client.send(format!("SDOWN {way}/f"));
        assert_eq!(client.wire.read_i32().expect("length"), -1);
        client.send(format!("SUP {way}/f"));
        client
            .wire
            .write_units(&mut b"\0\0\0\x03new\0\0\0\0".to_vec(), &[4, 3, 4])
            .expect("send");
        assert_eq!(client.wire.read_i32().expect("result"), -1);
    }
    assert_eq!(
        (scene.server.names(""), scene.server.names("d")),
        (vec!["d".into()], vec!["f".into()])
    );
    scene.unharmed();
}

#[test]
fn weakness_05_a_new_name_of_xcopy_and_xcpdir_stays_in_the_directory_it_is_for() {
    let mut scene = Scene::new();
    scene.server.write("src/f", "inside");
    scene.server.mkdir("a/target");
    let mut client = scene.connect();
    for name in ["../../x", "../x", "..", ".", "/x", "x/y", "x/", "./x"] {
        client.expect(format!("XCOPY {name} src/f | target"), 1);
        client.expect(format!("XCPDIR {name} src | target"), 1);
    }
    assert_eq!(scene.server.names(""), ["a", "src"]);
    assert_eq!(scene.server.names("a"), ["target"]);
    assert!(scene.server.names("a/target").is_empty());
    scene.unharmed();
}

#[test]
fn weakness_06_no_version_string_names_a_file() {
    let mut scene = Scene::new();
    let victim = scene.outside().join("f");
    scene.server.write("victim", "0 ");
    let path = victim.display().to_string();
    let way = "../".repeat(12);
    for name in [
        "../../outside/f",
        "../victim",
        "victim",
        path.as_str(),
        &format!("{way}{path}"),
        "123e4567-e89b-12d3-a456-426614174000",
    ] {
        let mut client = Client::knock(scene.server.address());
        assert_eq!(client.ask(format!("FAI://{name}")), reply_for(2), "{name}");
        client.expect_closed();
    }
    let mut client = scene.connect();
    for words in ["FAITOK 5", "FAITOK ../victim", "FAIMQ"] {
        assert_eq!(client.ask(words), "UNKNOWN");
    }
    assert_eq!(scene.server.read("victim"), b"0 ");
    scene.unharmed();
}

#[test]
fn weakness_07_only_the_whole_name_and_password_of_one_account_log_in() {
    if without_root() {
        return;
    }
    let users = account("xroot", "rootpw", "games:::") + &account("ann", "pass word", "games:::");
    let mut scene = Scene::with(multi_user(users));
    for login in [
        "root rootpw",
        "oot rootpw",
        "xroot rootp",
        "ann pass",
        "pass word",
    ] {
        let mut client = scene.connect();
        client.expect(format!("LOGIN {login}"), 37);
        client.expect("ECHO x", 38);
        // Nothing of what was sent before fills in what is missing.
        client.expect_all(&[
            ("LOGIN", 16),
            ("LOGIN ", 16),
            ("LOGIN ann", 16),
            ("LOGIN ann ", 37),
        ]);
    }
    scene.connect().expect("LOGIN xroot rootpw", 0);
    scene.unharmed();
}

#[test]
fn weakness_07_no_account_no_login_and_guessing_takes_longer_and_longer() {
    if without_root() {
        return;
    }
    let mut scene = Scene::with(multi_user(String::new()));
    let mut client = scene.connect();
    let begin = Instant::now();
    for password in ["", "x", "root", "x y"] {
        client.expect(format!("LOGIN root {password}"), 37);
    }
    assert!(
        begin.elapsed() > Duration::from_millis(1000),
        "{:?}",
        begin.elapsed()
    );
    client.expect("ECHO x", 38);
    scene.unharmed();

    let users = scene.server.config_path().with_file_name("users");
    fs::remove_file(&users).expect("remove");
    fs::create_dir(&users).expect("a directory in its place");
    let config = scene.server.config_path();
    let (code, said) = tfd(&["check", "--config", config.to_str().expect("path")]);
    assert!(code == Some(1) && said.contains("is not a file"), "{said}");
    scene.connect().expect("LOGIN root x", 37);
}

#[test]
fn weakness_07_the_users_file_holds_no_password() {
    if without_root() {
        return;
    }
    let scene = Scene::with(multi_user(account("ann", "pass word", "games:::")));
    scene.connect().expect("LOGIN ann pass word", 0);
    scene.connect().expect("LOGIN ann other words", 37);
    let text = fs::read_to_string(scene.server.config_path().with_file_name("users"));
    assert!(!text.expect("users").contains("pass word"));
    let log = scene.server.log().join("\n");
    assert!(!log.contains("pass word") && !log.contains("other words"));
}

#[test]
fn weakness_08_nobody_is_led_into_a_cipher_with_a_known_key() {
    let mut scene = Scene::new();
    let mut client = scene.connect();
    for _ in 0..3 {
        for word in ["GOAES", "goaes", "TFPCRYPTO"] {
            assert_eq!(client.ask(word), "UNKNOWN");
        }
    }
    client.expect_alive();
    scene.unharmed();
}

#[test]
fn weakness_09_session_keys_are_long_enough_and_new_ones_are_random() {
    let mut scene = Scene::new();
    for length in [0, 1, 8, 15] {
        let mut client = Client::knock(scene.server.address());
        assert_eq!(client.ask(VERSION), "OK");
        client.send_key(&vec![1; length]);
        assert_eq!(client.reply(), reply_for(25), "{length}");
        client.expect_closed();
    }
    let other = Server::start();
    let mut keys = Vec::new();
    for server in [&scene.server, &scene.server, &other] {
        let mut client = server.connect();
        for length in [
            "7",
            "9",
            "13",
            "4095",
            "65540",
            "2147483647",
            "9999999999",
            "-16",
            "",
        ] {
            client.expect(format!("NIGMA {length}"), 46);
        }
        client.expect("NIGMA 32", 0);
        assert_eq!(client.wire.read_i32().expect("length"), 32);
        let mut key = [0; 32];
        client.wire.read_raw(&mut key).expect("key");
        client.wire.follow_key(&key);
        client.expect_alive();
        keys.push(key);
    }
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
    scene.unharmed();
}

#[test]
fn weakness_10_questions_by_udp_kill_nothing_and_each_gets_its_own_answer() {
    let mut scene = Scene::new();
    let server = scene.server.address();
    let mut client = scene.connect();
    let key = client.ask("PROCKEY").split_off("OK ".len());
    // Answers are limited for each address.
    let socket = |host: u8| {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("socket");
        socket.connect(server).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket
    };
    let ask = |socket: &UdpSocket, question: &[u8]| {
        socket.send(question).expect("send");
        let mut answer = [0; 64];
        let len = socket.recv(&mut answer).expect("answer");
        answer[..len].to_vec()
    };
    for _ in 0..8 {
        assert_eq!(ask(&socket(1), &[3]), [0], "TLB without a pool");
    }
    std::thread::scope(|scope| {
        for sender in 0..8 {
            let key = &key;
            scope.spawn(move || {
                let socket = socket(2 + sender);
                let rounds = if matches!(sender % 4, 1 | 2) {
                    1000
                } else {
                    150
                };
                for _ in 0..rounds {
                    let (question, answer) = match sender % 4 {
                        0 => (vec![0], vec![1]),
                        1 => ([&[1], key.as_bytes()].concat(), vec![1]),
                        2 => ([&[2], key.as_bytes()].concat(), b"\x010\0".to_vec()),
                        _ => ([&[1], &[b'a'; 33][..]].concat(), vec![0]),
                    };
                    assert_eq!(ask(&socket, &question), answer, "sender {sender}");
                }
            });
        }
    });
    let udp = descendants(scene.server.pid())
        .into_iter()
        .find(|(_, name)| name == "tfd-udp");
    let kib = memory_of(udp.expect("udp").0, "RssAnon");
    assert!(kib < 4096, "SOCKCHECK maps and never unmaps: {kib} KiB");
    client.expect_alive();
    scene.unharmed();
}

#[test]
fn weakness_11_a_client_that_leaves_a_download_leaves_no_process_behind() {
    let mut scene = Scene::new();
    scene.server.write("big", vec![5; 20_000_000]);
    scene.server.write("small", "x");
    for file in ["big", "small"] {
        let mut left = Vec::new();
        for frames in [0, 1] {
            let mut client = scene.connect();
            client.hp_open("GET", file, &[0, 10_000]);
            (0..frames).for_each(|_| drop(client.receive_frame()));
            left.push(client);
            let mut client = scene.connect();
            client.hp_open("GETCAN", file, &[0, 10_000, 1]);
            (0..frames).for_each(|_| drop(client.receive_frame()));
            left.push(client);
        }
        for request in [
            format!("RCVFILE 0 {file}"),
            format!("SDOWN {file}"),
            "LSR /".into(),
        ] {
            let mut client = scene.connect();
            client.send(request);
            left.push(client);
        }
        for client in left.iter().step_by(2) {
            client
                .wire
                .socket()
                .shutdown(std::net::Shutdown::Write)
                .expect("shutdown");
        }
        drop(left);
        wait_until("one process, the observer's", || {
            connections(&scene.server).len() == 1
        });
        scene.unharmed();
    }
}

#[test]
fn weakness_11_a_client_that_takes_nothing_costs_no_processor_time() {
    let mut scene = Scene::new();
    scene.server.write("big", vec![5; 20_000_000]);
    let (mut client, pid) = connect_with_pid(&mut scene);
    client.hp_open("GET", "big", &[0, 10_000]);
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split(' ')
            .collect();
        [12, 13]
            .iter()
            .map(|at| fields[*at].parse::<u64>().expect("ticks"))
            .sum::<u64>()
    };
    let mut last = ticks();
    wait_until("a quiet process", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, ticks()) == last
    });
    scene.unharmed();
}
