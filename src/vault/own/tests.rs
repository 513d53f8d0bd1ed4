//! Messages: what arrives as it was sent, what is none, and the bytes that
//! vault-protocol(7) shows.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::frame::framed;
use super::message::*;
use crate::ipc::codec::{Decode, Encode};

fn kdf() -> Kdf {
    Kdf::usual([1; 32])
}

fn device() -> Device {
    Device {
        id: [2; 16],
        token: [3; 32].into(),
        name: "laptop".to_owned(),
    }
}

fn sealed(len: usize) -> Sealed {
    Sealed(vec![9; len])
}

fn register() -> Register {
    Register {
        kdf: kdf(),
        auth: [4; 32].into(),
        recovery: [5; 32].into(),
        wrapped: sealed(60),
        mail: Some("ann@example.org".to_owned()),
        device: device(),
        code: Some(Zeroizing::new(b"PM-123456".to_vec())),
    }
}

fn log_in(proof: Proof) -> Request {
    Request::LogIn(LogIn {
        proof,
        device: device(),
        code: None,
    })
}

fn push(sealed: Option<Sealed>) -> Request {
    let id = [7; 16];
    let base = 6;
    Request::Push {
        changes: vec![Change { id, base, sealed }],
    }
}

fn hello(user: usize) -> Request {
    Request::Hello {
        version: VERSION,
        user: "u".repeat(user),
    }
}

fn requests() -> Vec<Request> {
    vec![
        hello(MAX_USER),
        Request::Register(register()),
        log_in(Proof::Password([8; 32].into())),
        log_in(Proof::Recovery([8; 32].into())),
        Request::Pull {
            since: u64::MAX,
            whole: true,
        },
        push(Some(sealed(MAX_SEALED))),
        push(None),
        Request::Push { changes: vec![] },
        Request::Listen,
        Request::Versions { id: [7; 16] },
        Request::Version {
            id: [7; 16],
            revision: 1,
        },
        Request::Devices,
        Request::Unlink { device: [2; 16] },
        Request::SetPassword(NewPassword {
            kdf: kdf(),
            auth: [4; 32].into(),
            wrapped: sealed(MAX_WRAPPED),
        }),
        Request::DeleteAccount {
            proof: Proof::Password([8; 32].into()),
        },
        Request::LogOut,
    ]
}

fn item(sealed: Option<Sealed>) -> Item {
    Item {
        id: [7; 16],
        revision: 9,
        base: 6,
        sealed,
    }
}

fn replies() -> Vec<Reply> {
    let welcome = Welcome {
        store: [6; 16],
        revision: 9,
        oldest: 1,
        max_packet: 2 << 20,
        wrapped: sealed(60),
    };
    let version = VersionInfo {
        revision: 9,
        time: -1,
        device: [2; 16],
        is_deletion: true,
    };
    let known = DeviceInfo {
        id: [2; 16],
        name: "laptop".to_owned(),
        first: 1,
        last: 2,
        is_online: true,
        is_this: false,
    };
    let changes = Changes {
        items: vec![item(Some(sealed(1))), item(None)],
        upto: 9,
        more: true,
        whole: false,
    };
    let results = vec![
        Pushed::Stored { revision: 9 },
        Pushed::Stale {
            current: Some(item(None)),
        },
        Pushed::Stale { current: None },
    ];
    vec![
        Reply::Params(kdf()),
        Reply::Welcome(welcome),
        Reply::CodeWanted {
            kind: CodeFor::Device,
            is_mailed: true,
        },
        Reply::Refused {
            why: Refusal::Blocked { seconds: 9 },
        },
        Reply::Changes(changes),
        Reply::Pushed { results },
        Reply::Versions {
            versions: vec![version],
        },
        Reply::Version(item(None)),
        Reply::Devices {
            devices: vec![known],
        },
        Reply::Done,
        Reply::Failed { why: Failure::Full },
        Reply::Changed { revision: 9 },
        Reply::Over {
            why: Over::Unlinked,
        },
    ]
}

fn arrives<T: Encode + Decode + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = message.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Some(message));
    let long = [&bytes[..], &[0]].concat();
    assert_eq!(T::from_bytes(&long), None, "{message:?}");
    for short in (0..bytes.len()).rev().take(300) {
        assert_eq!(T::from_bytes(&bytes[..short]), None, "{message:?}");
    }
}

#[test]
fn every_message_arrives_as_it_was_sent_and_no_part_of_it_is_one() {
    requests().iter().for_each(arrives);
    replies().iter().for_each(arrives);
}

#[test]
fn a_message_out_of_its_limits_is_none() {
    let with = |change: fn(&mut Register)| {
        let mut register = register();
        change(&mut register);
        Request::Register(register)
    };
    for bad in [
        hello(0),
        hello(MAX_USER + 1),
        with(|it| it.kdf.memory_kib = (19 << 10) - 1),
        with(|it| it.kdf.memory_kib = (1 << 20) + 1),
        with(|it| it.kdf.passes = 1),
        with(|it| it.kdf.passes = 65),
        with(|it| it.kdf.lanes = 0),
        with(|it| it.kdf.lanes = 17),
        with(|it| it.wrapped = sealed(MAX_WRAPPED + 1)),
        with(|it| it.mail = Some("m".repeat(MAX_MAIL + 1))),
        with(|it| it.device.name = "n".repeat(MAX_DEVICE_NAME + 1)),
        with(|it| it.device.name = "a\nb".to_owned()),
        with(|it| it.code = Some(Zeroizing::new(vec![0; MAX_CODE + 1]))),
        push(Some(sealed(0))),
        push(Some(sealed(MAX_SEALED + 1))),
    ] {
        assert_eq!(Request::from_bytes(&bad.to_bytes()), None, "{bad:?}");
    }
}

#[test]
fn no_secret_is_shown_by_a_message_that_is_printed() {
    let shown = format!("{:?}", requests());
    assert!(shown.contains("Secret") && !shown.contains("[4, 4"));
    assert!(!shown.contains("[9, 9"), "{shown}");
}

#[test]
fn the_bytes_are_those_of_the_manual_page() {
    let hello = Request::Hello {
        version: 1,
        user: "ann".to_owned(),
    };
    let push = Request::Push {
        changes: vec![Change {
            id: *b"0123456789abcdef",
            base: 5,
            sealed: Some(Sealed(b"sealed".to_vec())),
        }],
    };
    let pushed = Reply::Pushed {
        results: vec![Pushed::Stored { revision: 258 }],
    };
    let all = [framed(&hello), framed(&push), framed(&pushed)];
    let hex = all.map(|bytes| {
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(" ")
    });
    assert_eq!(hex[0], "00 00 00 0a 01 00 01 00 00 00 03 61 6e 6e");
    assert_eq!(
        hex[1],
        "00 00 00 28 05 00 00 00 01 \
         30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 \
         00 00 00 00 00 00 00 05 01 00 00 00 06 73 65 61 6c 65 64"
    );
    assert_eq!(
        hex[2],
        "00 00 00 0e 06 00 00 00 01 01 00 00 00 00 00 00 01 02"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(request) = Request::from_bytes(&bytes) {
            prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        }
        if let Some(reply) = Reply::from_bytes(&bytes) {
            prop_assert_eq!(Reply::from_bytes(&reply.to_bytes()), Some(reply));
        }
    }
}
